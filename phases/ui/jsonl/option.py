"""The option `-r jsonl`, and the reporter that doit creates for it.

doit imports this module in every run, so it imports the rest of the package only when the option is given.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from phases.ui.jsonl.reporter import JsonlReporter
    from phases.ui.jsonl.writer import JsonlWriter

NAME = "jsonl"


class LazyReporter:
    """The class that doit finds. Calling it imports and makes a JsonlReporter."""

    desc = "one event per line, as JSON, for a program (docs/events.md); the transcript for people goes to stderr"

    def __new__(cls, writer: JsonlWriter, options: dict[str, Any]) -> JsonlReporter:  # type: ignore[misc]
        from phases.ui.jsonl.reporter import JsonlReporter

        return JsonlReporter(writer, options)


def is_requested(words: Sequence[str]) -> bool:
    """Return whether a command line that doit can't parse has the option `-r jsonl`."""
    return bool(re.search(rf"(^|\s)(-r ?|--reporter[ =]){NAME}(\s|$)", " ".join(words)))
