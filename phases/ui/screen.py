"""The lines that a person reads: on a terminal with colours and live lines below them, in a pipe as plain text.

Only a terminal loads rich: most of what a run with nothing to do takes is imports.
"""

from __future__ import annotations

import atexit
import os
import re
import termios
import threading
import time
from contextlib import suppress
from functools import cached_property
from typing import IO, TYPE_CHECKING

from msgspec import Struct

from phases.core.errors import printable
from phases.ui.durations import duration

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rich.console import Console, RenderableType
    from rich.live import Live
    from rich.table import Table
    from rich.text import Text

# Variables that make rich write as to a terminal, whatever the stream is.
_FORCE_TERMINAL = ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE")

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")

# Bell, backspace, vertical tab, form feed and carriage return, which rich drops.
_DROPPED = dict.fromkeys(b"\a\b\v\f\r")

_ERASE_LINE_AND_SHOW_CURSOR = b"\r\x1b[2K\x1b[?25h"


# Text with styles


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


# The terminal's echo, which would tear live lines: what a person types meanwhile isn't shown

# The attributes of the terminal on standard input before; a process has one.
_before: list[list[object]] = []


def echo_off() -> None:
    """Stop to show what is typed. Whoever reads the terminal next still gets it."""
    if _before or not _is_foreground():
        return
    attributes = termios.tcgetattr(0)
    _before.append([*attributes])
    atexit.register(restore_echo)
    attributes[3] &= ~termios.ECHO
    termios.tcsetattr(0, termios.TCSANOW, attributes)


def restore_echo() -> None:
    """Give the terminal the attributes from before `echo_off`."""
    if _before:
        attributes = _before.pop()
        atexit.unregister(restore_echo)
        if _is_foreground():
            termios.tcsetattr(0, termios.TCSANOW, attributes)  # type: ignore[arg-type] # what tcgetattr returned


def abandon_live_lines() -> None:
    """Leave a usable terminal where the process ends at once and no Screen is closed."""
    if _before:
        restore_echo()
        with suppress(OSError):
            os.write(1, _ERASE_LINE_AND_SHOW_CURSOR)


def _is_foreground() -> bool:
    """Return whether the terminal is ours. The kernel stops a background process that changes it."""
    try:
        return os.isatty(0) and os.tcgetpgrp(0) == os.getpgrp()
    except OSError:
        return False


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
    """What rich draws at the foot of the terminal: all lines that are in `lines` when it does."""

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
