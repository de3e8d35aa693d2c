"""The base of the events that `-r jsonl` writes as they are."""

from __future__ import annotations

import re

from msgspec import Struct

#: Where a class name's words begin.
_WORD = re.compile(r"(?<!^)(?=[A-Z])")


class JsonEvent(
    Struct, frozen=True, omit_defaults=True, tag_field="event", tag=lambda name: _WORD.sub("_", name).lower()
):
    """An event that `-r jsonl` writes as it is, as PhaseStarted as `phase_started`.

    Its names, fields and their order are a contract with programs, see docs/events.md. Within a schema version
    fields are only added. A field with a default is left out where it has that.
    """
