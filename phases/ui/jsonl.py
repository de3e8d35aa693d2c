"""`doit -r jsonl`: found by doit with every run, so what it takes is loaded only where it is asked for."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from phases.ui.journal import Journal
    from phases.ui.recorder import Recorder

NAME = "jsonl"


class JsonlReporter:
    """doit's name for a Recorder, which is what it makes."""

    desc = "an event a line, as JSON, for a program (docs/events.md); what people read goes to stderr"

    def __new__(cls, journal: Journal, options: dict[str, Any]) -> Recorder:  # type: ignore[misc]
        from phases.ui.recorder import Recorder

        return Recorder(journal, options)


def asked_for(words: Sequence[str]) -> bool:
    """Return whether a command line that doit can't make sense of asks for it."""
    return bool(re.search(rf"(^|\s)(-r ?|--reporter[ =]){NAME}(\s|$)", " ".join(words)))
