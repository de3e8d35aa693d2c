"""ENV as `env:`, where the last definition of a name holds everywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phases.core.migrate.result import Piece, quoted
from phases.protocol import PHASE_VARIABLES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from phases.core.migrate.dockerfile import Instruction
    from phases.core.migrate.dockerfile_state import Machine, State


def entries(machine: Machine, said: Iterable[tuple[Instruction, State]]) -> list[Piece]:
    """Of several values of a name the last, and those that it goes on from. said: each ENV, with what it found."""
    kept: list[tuple[str, Piece]] = []
    for instruction, state in said:
        comment = instruction.comment
        for name, value in machine.pairs(instruction, state):
            if name in PHASE_VARIABLES:
                continue
            before = state.env.get(name, "")
            goes_on = (
                before and before in value and value != before and instruction.mentions(f"${name}", f"${{{name}}}")
            )
            if goes_on:
                head, _, tail = value.partition(before)
                text = f"{quoted(head)}${{{name}}}{quoted(tail)}"
            else:
                kept = [(other, piece) for other, piece in kept if other != name]
                text = quoted(value)
            kept.append((name, Piece(f"{name}={text}", comment)))
            comment = ()
    return [piece for _, piece in kept]
