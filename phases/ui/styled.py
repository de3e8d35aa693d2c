"""Text with styles, as a line is put together. It becomes rich's where something draws it: a pipe takes the bare
text, and a run that has nothing to do is mostly imports.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from msgspec import Struct

from phases.core.errors import printable

if TYPE_CHECKING:
    from rich.text import Text

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")

# Bell, backspace, vertical tab, form feed and carriage return, which rich drops.
_DROPPED = dict.fromkeys(b"\a\b\v\f\r")


class Styled(Struct, frozen=True):
    """pieces: each a text and its style, as rich names styles, "" for none; ground: the style beneath them all."""

    pieces: tuple[tuple[str, str], ...] = ()
    ground: str = ""

    @property
    def plain(self) -> str:
        return "".join(text for text, _ in self.pieces)

    def __add__(self, other: Styled) -> Styled:
        """Both in one line, on the ground of the first."""
        above = ((text, f"{other.ground} {style}".strip()) for text, style in other.pieces)
        return Styled((*self.pieces, *above), self.ground)

    def tame(self) -> Styled:
        """The same without what would act on the terminal: others wrote parts of it. Colours just go."""
        text = self.plain
        if text.isprintable():
            return self
        lines = text.translate(_DROPPED).split("\n")
        if all(line == printable(line) for line in lines):
            return Styled(tuple((piece.translate(_DROPPED), style) for piece, style in self.pieces), self.ground)
        return styled("\n".join(printable(_COLOUR.sub("", line)) for line in lines), self.ground)

    def rich(self) -> Text:
        """For a screen that rich draws on."""
        from rich.text import Text

        return Text.assemble(*self.pieces, style=self.ground)


def styled(text: str = "", ground: str = "") -> Styled:
    """A text of one style."""
    return Styled(((text, ""),), ground)


def joined(*parts: str | tuple[str, str]) -> Styled:
    """parts: text, or text and its style."""
    return Styled(tuple((part, "") if isinstance(part, str) else part for part in parts))
