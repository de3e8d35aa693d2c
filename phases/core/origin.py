"""The place of a value in a config file."""

from __future__ import annotations

from msgspec import Struct


class Origin(Struct, frozen=True):
    """A place in a config file.

    Attributes:
        layer: "system", "shared" or "local".
        file: The file as a person sees it, relative to the project's root.
        line: The line, counted from 1.
        column: The column, counted from 1; 0 where only the line matters.
    """

    layer: str
    file: str
    line: int
    column: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" + (f":{self.column}" if self.column else "")
