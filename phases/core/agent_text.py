"""The text of `instructions:`, which agents read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from pathlib import Path

    from phases.core.origin import Origin


class AgentText(Struct, frozen=True):
    """An entry of `instructions:`: a text for agents, or the file of the host that has it."""

    text: str
    source: Path | None
    shown: str
    origin: Origin
