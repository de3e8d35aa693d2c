"""What tests measured, for the end of a run: docs/guarantees.md has it from here."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import hostile_values

if TYPE_CHECKING:
    from collections.abc import Iterator

#: What became of a run that was killed, by phase and point: how many phases the next one ran.
MATRIX: dict[tuple[str, str], str] = {}

#: Anything else, a line each.
LINES: list[str] = []


def gathered() -> Any:
    """All of it, as a process can send it to another."""
    matrix = [[phase, point, text] for (phase, point), text in MATRIX.items()]
    return matrix, {place: dict(counts) for place, counts in hostile_values.TRIED.items()}, LINES


def add(figures: Any) -> None:
    """What another process `gathered`."""
    matrix, tried, lines = figures
    MATRIX.update({(phase, point): text for phase, point, text in matrix})
    for place, counts in tried.items():
        hostile_values.TRIED.setdefault(place, Counter()).update(counts)
    LINES.extend(lines)


def sections() -> Iterator[tuple[str, list[str]]]:
    """Title and rows of what there is to tell."""
    if MATRIX:
        yield "killed there, and recovered by running so many phases", list(_matrix())
    if hostile_values.TRIED:
        yield "hostile input", hostile_values.table()
    if LINES:
        yield "figures", LINES


def _matrix() -> Iterator[str]:
    points = list(dict.fromkeys(point for _, point in MATRIX))
    yield " | ".join(["phase     ", *points])
    for phase in dict.fromkeys(phase for phase, _ in MATRIX):
        yield " | ".join([f"{phase:10}", *(f"{MATRIX.get((phase, point), ''):^{len(point)}}" for point in points)])
