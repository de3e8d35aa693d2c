"""The signs of phases in the table of `habitat status`, the column that has them, and their legend."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from rich.text import Text

from phases.registry import PHASES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from phases.core.report.states import HabitatState, Overview, State

#: What is above the signs of phases: names on one line, on two, numbers, or numbers with a digit on each line.
Heads: TypeAlias = Literal["names", "staggered", "ids", "tight"]

# Columns from one sign to the next if the names of phases are on two lines.
_STAGGER = 4


@dataclass(frozen=True)
class Sign:
    """How the table shows a state: a sign, an ASCII sign for other encodings, a colour, and its text in the legend."""

    sign: str
    ascii: str
    style: str
    meaning: str


SIGNS: dict[State, Sign] = {
    "cached": Sign("✓", "+", "green", "cached"),
    "stale": Sign("↻", "~", "bold yellow", "would run again"),
    "failed": Sign("✗", "x", "bold red", "failed"),
    "new": Sign("·", ".", "dim", "never built"),
    "unknown": Sign("?", "?", "dim", "not known"),
}


class Strip:
    """The column of phases: a sign of each, below the phase's name."""

    def __init__(self, habitats: Sequence[HabitatState], heads: Heads, *, plain: bool) -> None:
        present = {phase.name for habitat in habitats for phase in habitat.phases}
        phases = [phase for phase in PHASES if phase.NAME in present]
        self._heads = [str(phase.ID) if heads in {"ids", "tight"} else phase.NAME for phase in phases]
        self._lines = 2 if heads == "staggered" else 1
        self._tight = heads == "tight"
        self._plain = plain
        self._places = {phase.NAME: place for phase, place in zip(phases, self._placed(), strict=True)}

    def _placed(self) -> list[int]:
        """Return the column at which each head begins: behind the head before it, on its own line and any other."""
        if self._tight:
            return list(range(len(self._heads)))
        places: list[int] = []
        for number in range(len(self._heads)):
            at = places[-1] + (_STAGGER if self._lines > 1 else 1) if places else 0
            on_line = number - self._lines
            places.append(max(at, places[on_line] + len(self._heads[on_line]) + 1) if on_line >= 0 else at)
        return places

    def head(self) -> Text:
        if self._tight:
            high = max(map(len, self._heads))
            digits = [head.rjust(high) for head in self._heads]
            return Text("\n".join("".join(column) for column in zip(*digits, strict=True)))
        lines = [""] * self._lines
        for number, (place, head) in enumerate(zip(self._places.values(), self._heads, strict=True)):
            line = number % self._lines
            lines[line] = lines[line].ljust(place) + head
        return Text("\n".join(lines))

    def row(self, habitat: HabitatState) -> Text:
        if habitat.error:
            return Text("config broken" if self._tight else "the config is broken", "bold red")
        text = Text()
        for phase in habitat.phases:
            sign = SIGNS[phase.state]
            follows = phase.state == "stale" and phase is not habitat.first
            text.append(" " * (self._places[phase.name] - len(text)))
            text.append(sign.ascii if self._plain else sign.sign, "yellow" if follows else sign.style)
        return text


def legend(overview: Overview, *, plain: bool) -> Text:
    """Return the legend of the signs. plain: in ASCII."""
    seen = {phase.state for habitat in overview.habitats for phase in habitat.phases if not habitat.error}
    signs = [sign for state, sign in SIGNS.items() if state != "unknown" or "unknown" in seen]
    legend = Text()
    for sign in signs:
        legend.append("   " if legend else "")
        legend.append(sign.ascii if plain else sign.sign, sign.style)
        legend.append(f" {sign.meaning}", "dim")
    return legend
