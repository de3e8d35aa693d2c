"""The lines that a person reads: on a terminal with colours and live lines below them, in a pipe as plain text.

Only a terminal loads rich: most of what a run with nothing to do takes is imports.
"""

from __future__ import annotations

import os
import threading
import time
from functools import cached_property
from typing import IO, TYPE_CHECKING

from phases.ui.durations import duration
from phases.ui.echo import echo_off, restore_echo
from phases.ui.styled import Styled, columns, styled, wrapped

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console, RenderableType
    from rich.live import Live
    from rich.table import Table

# Variables that make rich write as to a terminal, whatever the stream is.
_FORCE_TERMINAL = ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE")


# Live lines


class LiveLine:
    """A live line: a text, the time since it began, and the last line of output, `last`."""

    def __init__(self, text: str) -> None:
        from rich.spinner import Spinner

        self.text = text
        self.last = ""
        self.started = time.monotonic()
        self.spinner = Spinner("dots", style="cyan")


class LiveLines:
    """The lines at the foot of the terminal. rich draws those that are in `lines` at that moment."""

    def __init__(self, lines: Mapping[str, LiveLine]) -> None:
        self._lines = lines

    def __rich__(self) -> Table:
        from rich.markup import escape
        from rich.table import Table
        from rich.text import Text

        table = Table.grid(padding=(0, 1), expand=True)
        table.add_column(width=1)
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True, justify="right", style="cyan")
        table.add_column(no_wrap=True, ratio=1, overflow="ellipsis", style="dim")
        for line in list(self._lines.values()):
            running = duration(time.monotonic() - line.started)
            last = Text(" ".join(line.last.split()), overflow="ellipsis")
            table.add_row(line.spinner, escape(line.text), running, last)
        return table


# The screen


def is_plain(stream: IO[str]) -> bool:
    """Return whether rich would write plain text to a stream. Doesn't load rich to find out."""
    if any(name in os.environ for name in _FORCE_TERMINAL):
        return False
    try:
        return not stream.isatty()
    except ValueError:  # it is closed
        return True


class Screen:
    """Writes lines to a stream. Safe to use from several threads.

    `live` says whether there are live lines, which a pipe has not.
    """

    def __init__(self, stream: IO[str]) -> None:
        if hasattr(stream, "reconfigure"):
            # A sign that the terminal's encoding doesn't have must not stop a build.
            stream.reconfigure(errors="replace")
        self._stream = stream
        self._is_plain = is_plain(stream)
        self.live = not self._is_plain and self._console.is_interactive
        self._lock = threading.RLock()
        self._lines: dict[str, LiveLine] = {}
        self._display: Live | None = None

    @cached_property
    def _console(self) -> Console:
        from rich.console import Console  # here: in a pipe only tables need rich

        return Console(file=self._stream, highlight=False, soft_wrap=True, emoji=False)

    def line(self, text: Styled | RenderableType = Styled()) -> None:  # noqa: B008 (it is frozen)
        """Write a line, or an object that rich draws, above the live lines."""
        with self._lock:
            if not isinstance(text, Styled):
                self._console.print(text)
            elif self._is_plain:
                self._stream.write(f"{text.printable().plain}\n")
            else:
                self._console.print(text.printable().rich())
            self._stream.flush()

    def message(self, prefix: Styled, text: Styled, indent: int) -> None:
        """Write a line that may be too long for a terminal. There it is wrapped, in a pipe it is one line.

        Args:
            prefix: What every line begins with.
            text: A text of one style.
            indent: Columns by which all lines but the first are indented.
        """
        width = self._width_behind(prefix) if self.live else 0
        for line in wrapped(text.printable(), width, indent) if width > 0 else (text,):
            self.line(prefix + line)

    def fits(self, prefix: Styled, text: str) -> bool:
        """Return whether `message` would write one line."""
        return not self.live or columns(text) <= self._width_behind(prefix)

    def _width_behind(self, prefix: Styled) -> int:
        return self._console.width - columns(prefix.plain)

    def plain(self, text: str, style: str = "") -> None:
        """Write a line that may hold anything, such as a command's output."""
        self.line(styled(text.expandtabs(), style))

    def begin(self, key: str, text: str) -> None:
        """Show a live line until `end` is called with the same key. Does nothing in a pipe."""
        if not self.live:
            return
        with self._lock:
            self._lines[key] = LiveLine(text)
            if self._display is None:
                self._display = self._new_display()
                echo_off()
                self._display.start()

    def _new_display(self) -> Live:
        from rich.live import Live

        return Live(
            LiveLines(self._lines),
            console=self._console,
            transient=True,
            refresh_per_second=10,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def note(self, key: str, text: str) -> None:
        """Show the last line of output in the live line of a key."""
        with self._lock:
            if line := self._lines.get(key):
                line.last = styled(text).printable().plain

    def end(self, key: str) -> None:
        """Remove the live line of a key."""
        with self._lock:
            self._lines.pop(key, None)
            if not self._lines:
                self.close()

    def close(self) -> None:
        """Remove all live lines."""
        with self._lock:
            if self._display:
                self._lines.clear()
                self._display.stop()
                self._display = None
                restore_echo()
