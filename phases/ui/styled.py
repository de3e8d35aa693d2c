"""Text with styles, which a terminal shows in colours. Only a terminal loads rich."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from msgspec import Struct

from phases.core.errors import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.text import Text

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")

# Bell, backspace, vertical tab, form feed and carriage return, which rich drops.
_DROPPED = dict.fromkeys(b"\a\b\v\f\r")


class Styled(Struct, frozen=True):
    """A line with styles.

    Args:
        pieces: Texts, each with its style as rich names styles, "" for none.
        style: The style that all pieces have as well.
    """

    pieces: tuple[tuple[str, str], ...] = ()
    style: str = ""

    @property
    def plain(self) -> str:
        return "".join(text for text, _ in self.pieces)

    def __add__(self, other: Styled) -> Styled:
        """Join two texts. The style of the first also applies to the second."""
        behind = ((text, f"{other.style} {style}".strip()) for text, style in other.pieces)
        return Styled((*self.pieces, *behind), self.style)

    def printable(self) -> Styled:
        """Return the text without signs that act on a terminal, since commands and configs wrote parts of it.

        Escapes of colours are removed, other signs become visible escapes.
        """
        text = self.plain
        if text.isprintable():
            return self
        lines = text.translate(_DROPPED).split("\n")
        if all(line == printable(line) for line in lines):
            return Styled(tuple((piece.translate(_DROPPED), style) for piece, style in self.pieces), self.style)
        return styled("\n".join(printable(_COLOUR.sub("", line)) for line in lines), self.style)

    def rich(self) -> Text:
        """Return the text in rich's form."""
        from rich.text import Text

        return Text.assemble(*self.pieces, style=self.style)


def styled(text: str = "", style: str = "") -> Styled:
    """Return a text of one style."""
    return Styled(((text, ""),), style)


def joined(*parts: str | tuple[str, str]) -> Styled:
    """Return a line of parts, each a text, or a text and its style."""
    return Styled(tuple((part, "") if isinstance(part, str) else part for part in parts))


def columns(text: str) -> int:
    """Return the width of a text on a terminal, where some signs are two columns wide."""
    from rich.cells import cell_len

    return cell_len(text)


def wrapped(text: Styled, width: int, indent: int) -> Iterator[Styled]:
    """Yield the lines of a text of one style. They break at spaces only; a longer word is a longer line.

    Args:
        text: The text, whose pieces have no style of their own.
        width: Columns of a line.
        indent: Columns by which all lines but the first are indented.
    """
    plain = text.plain
    start = 0
    for word in re.finditer(r"\S+", plain):
        space = width - (indent if start else 0)
        if word.start() > start and columns(plain[start : word.end()]) > space:
            yield _indented(plain[start : word.start()], text.style, indent if start else 0)
            start = word.start()
    yield _indented(plain[start:], text.style, indent if start else 0)


def _indented(text: str, style: str, indent: int) -> Styled:
    return styled(" " * indent) + styled(text.rstrip(), style)
