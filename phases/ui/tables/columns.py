"""A table without lines, for a terminal and for a pipe."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType


def columns(heads: Sequence[str], rows: Sequence[tuple[Text, ...]], *, wrap: bool) -> RenderableType:
    """Return a table. wrap: for a terminal, which has a width; otherwise each row is one line."""
    return _wrapped(heads, rows) if wrap else _plain(heads, rows)


def _wrapped(heads: Sequence[str], rows: Sequence[tuple[Text, ...]]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", pad_edge=False)
    for head in heads:
        table.add_column(head, overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table


def _plain(heads: Sequence[str], rows: Sequence[tuple[Text, ...]]) -> Text:
    lines = [tuple(heads), *(tuple(cell.plain for cell in row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]
    padded = ("  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)) for line in lines)
    return Text("\n".join(line.rstrip() for line in padded))
