"""Lines on the terminal, and a live one at its foot; in a pipe plain lines, as they happen."""

from __future__ import annotations

import re
import threading
import time
from typing import IO, TYPE_CHECKING

from rich.cells import cell_len
from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from phases.core.errors import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def duration(seconds: float) -> str:
    """0.1s, 45s, 2m 15s, 1h 02m."""
    if seconds < 9.95:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02}s"
    return f"{whole // 3600}h {whole % 3600 // 60:02}m"


class Screen:
    """Where the transcript goes. Safe to use from several threads."""

    def __init__(self, stream: IO[str]) -> None:
        if hasattr(stream, "reconfigure"):
            # A terminal that can't show a sign is no reason to stop a build.
            stream.reconfigure(errors="replace")
        self._stream = stream
        self.console = Console(file=stream, highlight=False, soft_wrap=True, emoji=False)
        self.live = self.console.is_interactive
        self._lock = threading.RLock()
        self._bars: dict[str, _Bar] = {}
        self._display: Live | None = None

    def line(self, text: RenderableType = "") -> None:
        """One line, or a renderable, above the live one."""
        if isinstance(text, Text):
            text = _tame(text)
        with self._lock:
            self.console.print(text)
            self._stream.flush()

    def message(self, prefix: Text, text: Text, indent: int) -> None:
        """A line of ours. On a terminal one that is too long goes on below, between two words and indented by so
        many columns; no word is torn, so that a path can be copied. In a pipe it is one line.
        """
        width = self.console.width - prefix.cell_len if self.live else 0
        for line in wrapped(_tame(text), width, indent) if width > 0 else (text,):
            self.line(prefix + line)

    def fits(self, prefix: Text, text: str) -> bool:
        """Whether this is one line also on a terminal."""
        return not self.live or prefix.cell_len + cell_len(text) <= self.console.width

    def plain(self, text: str, style: str = "") -> None:
        """A line somebody else wrote: whatever is in it is text."""
        self.line(Text(text.expandtabs(), style=style))

    def begin(self, key: str, text: str) -> None:
        """Show a live line for `key`, until `end`; nothing in a pipe."""
        if not self.live:
            return
        from phases.ui import echo

        with self._lock:
            self._bars[key] = _Bar(text)
            if self._display is None:
                self._display = Live(
                    _Bars(self._bars),
                    console=self.console,
                    transient=True,
                    refresh_per_second=10,
                    redirect_stdout=False,
                    redirect_stderr=False,
                )
                echo.off()
                self._display.start()

    def note(self, key: str, text: str) -> None:
        """The last line of output, beside the running time."""
        with self._lock:
            if bar := self._bars.get(key):
                bar.last = _tame(Text(text)).plain

    def end(self, key: str) -> None:
        with self._lock:
            self._bars.pop(key, None)
            if not self._bars:
                self.close()

    def close(self) -> None:
        """Take the live lines away."""
        with self._lock:
            if self._display:
                from phases.ui import echo

                self._bars.clear()
                self._display.stop()
                self._display = None
                echo.back()


def wrapped(text: Text, width: int, indent: int) -> Iterator[Text]:
    """`text` in lines of `width` columns, those after the first indented. Spaces alone are where it breaks."""
    start = 0
    for word in re.finditer(r"\S+", text.plain):
        space = width - (indent if start else 0)
        if word.start() > start and cell_len(text.plain[start : word.end()]) > space:
            yield _indented(text[start : word.start()], indent if start else 0)
            start = word.start()
    yield _indented(text[start:], indent if start else 0)


def _indented(text: Text, indent: int) -> Text:
    text.rstrip()
    return Text(" " * indent) + text


def _tame(text: Text) -> Text:
    """The same without what would act on the terminal: others wrote parts of it. Colours just go."""
    lines = text.plain.split("\n")
    if all(line == printable(line) for line in lines):
        return text
    return Text("\n".join(printable(_COLOUR.sub("", line)) for line in lines), style=text.style)


class _Bar:
    def __init__(self, text: str) -> None:
        self.text = text
        self.last = ""
        self.started = time.monotonic()
        self.spinner = Spinner("dots", style="cyan")


class _Bars:
    """All live lines, drawn anew each time rich asks."""

    def __init__(self, bars: dict[str, _Bar]) -> None:
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
