"""The live lines at the foot of a terminal, which rich draws: loaded where there is something to wait for."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rich.live import Live
from rich.markup import escape
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from phases.ui.durations import duration

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console


class Bar:
    """A live line. last: what is shown beside the running time."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.last = ""
        self.started = time.monotonic()
        self.spinner = Spinner("dots", style="cyan")


def display(bars: Mapping[str, Bar], console: Console) -> Live:
    """Of all that is in `bars` at any time, from its start until it is stopped."""
    return Live(
        _Bars(bars),
        console=console,
        transient=True,
        refresh_per_second=10,
        redirect_stdout=False,
        redirect_stderr=False,
    )


class _Bars:
    """All live lines, drawn anew each time rich asks."""

    def __init__(self, bars: Mapping[str, Bar]) -> None:
        self._bars = bars

    def __rich__(self) -> Table:
        table = Table.grid(padding=(0, 1), expand=True)
        table.add_column(width=1)
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True, justify="right", style="cyan")
        table.add_column(no_wrap=True, ratio=1, overflow="ellipsis", style="dim")
        for bar in list(self._bars.values()):
            running = duration(time.monotonic() - bar.started)
            table.add_row(bar.spinner, escape(bar.text), running, Text(" ".join(bar.last.split()), overflow="ellipsis"))
        return table
