"""What becomes of a Dockerfile: the sections of a config, and where each instruction went."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from phases.core.migrate.dockerfile import Instruction


def quoted(text: str) -> str:
    """As every section but `setup` wants it, where a dollar sign begins a variable."""
    return text.replace("$", "$$")


@dataclass
class Row:
    """A line of the report. place: a key of config.yaml or a file, "" where nothing says the same; why: that
    it is so, or what else is to be known.
    """

    line: int
    text: str
    place: str
    why: str = ""


@dataclass(frozen=True)
class Piece:
    """An element of a list of the config. run_as: of a script; comment: that of its instruction."""

    value: str | dict[str, str]
    comment: tuple[str, ...] = ()
    run_as: str = ""
    row: Row | None = None


@dataclass
class Draft:
    """dockerfile: the key's value; rest: the text of the Dockerfile that is still built, "" for none; caches: path to
    how it is shared; remarks: lines for a person to take up, below `entry:`; warnings: what is to be told of secrets.
    """

    base_image: str = ""
    description: str = ""
    dockerfile: str = "false"
    rest: str = ""
    env: list[Piece] = field(default_factory=list)
    files: list[Piece] = field(default_factory=list)
    setup: list[Piece] = field(default_factory=list)
    secrets: dict[str, dict[str, object]] = field(default_factory=dict)
    caches: dict[str, str] = field(default_factory=dict)
    command: str = ""
    remarks: list[str] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def tell(self, instruction: Instruction, place: str, why: str = "") -> Row:
        row = Row(instruction.line, instruction.text, place, why)
        self.rows.append(row)
        return row

    @property
    def alternates(self) -> bool:
        """Whether users take turns in setup in a way that only its list form says."""
        order = [piece.run_as for piece in self.setup]
        others = [user for user in order if user not in ("root", "user")]
        return bool(others) or order != sorted(order, key=("root", "user", "").index)

    def name_places(self) -> None:
        """Say of each script where it came to stand, once all are there."""
        blocks = 0
        seen: dict[str, int] = {}
        before = ""
        for piece in self.setup:
            number = seen.get(piece.run_as, 0)
            if self.alternates:
                if piece.run_as != before:
                    blocks, number = blocks + 1, 0
                place = f"setup[{blocks - 1}].commands[{number}]"
            else:
                place = f"setup.{piece.run_as}[{number}]"
            seen[piece.run_as], before = number + 1, piece.run_as
            if piece.row:
                piece.row.place = place
