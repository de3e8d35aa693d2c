"""Options that several commands have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from doit.exceptions import InvalidCommand

from phases.core.errors import did_you_mean, printable
from phases.registry import NAMES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

TO: dict[str, Any] = {
    "name": "to",
    "long": "to",
    "type": str,
    "default": "",
    "metavar": "PHASE",
    "help": "build up to this phase only",
}

FROM: dict[str, Any] = {
    "name": "first",
    "long": "from",
    "type": str,
    "default": "",
    "metavar": "PHASE",
    "help": "begin at this phase; the ones before it stay",
}


def explained(options: Iterable[dict[str, Any]], texts: Mapping[str, str]) -> tuple[dict[str, Any], ...]:
    """Return options of doit, with help in the words of this program.

    Args:
        options: doit's options.
        texts: The help of some of them, by the option's name.
    """
    return tuple(option | {"help": texts.get(option["name"], option["help"])} for option in options)


def checked_phase(name: str, option: str = "--to") -> str:
    """Return the name of a phase, or "" for "". Raises InvalidCommand if there is no such phase."""
    if name and name not in NAMES:
        remedy = did_you_mean(name, NAMES, in_order=True)
        raise InvalidCommand(f"{option}: there is no phase '{printable(name[:100])}': {remedy}")
    return name
