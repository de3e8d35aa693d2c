"""Lines on the terminal, and a live one at its foot; in a pipe plain lines, as they happen."""

from __future__ import annotations

import os
import re
import threading
from functools import cached_property
from typing import IO, TYPE_CHECKING

from phases.ui.styled import Styled, styled

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console, RenderableType
    from rich.live import Live

    from phases.ui.live import Bar

# What tells rich that there is a terminal, whatever it looks like: then it is to say how to write.
_TELLING = ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE")


def is_plain(stream: IO[str]) -> bool:
    """Return whether rich, asked how to write to `stream`, would say: text, and nothing but that."""
    if any(name in os.environ for name in _TELLING):
        return False
    try:
        return not stream.isatty()
    except ValueError:  # it is closed
        return True


class Screen:
    """Where the transcript goes. Safe to use from several threads."""

    def __init__(self, stream: IO[str]) -> None:
        if hasattr(stream, "reconfigure"):
            # A terminal that can't show a sign is no reason to stop a build.
            stream.reconfigure(errors="replace")
        self._stream = stream
        self._is_plain = is_plain(stream)
        self.live = not self._is_plain and self._console.is_interactive
        self._lock = threading.RLock()
        self._bars: dict[str, Bar] = {}
        self._display: Live | None = None

    @cached_property
    def _console(self) -> Console:
        # Here, since in a pipe only tables take rich, which is a good part of what a run that does nothing would load.
        from rich.console import Console

        return Console(file=self._stream, highlight=False, soft_wrap=True, emoji=False)

    def line(self, text: Styled | RenderableType = Styled()) -> None:  # noqa: B008 (nothing changes it)
        """One line, or a renderable of rich's, above the live one."""
        with self._lock:
            if not isinstance(text, Styled):
                self._console.print(text)
            elif self._is_plain:
                self._stream.write(f"{text.tame().plain}\n")
            else:
                self._console.print(text.tame().rich())
            self._stream.flush()

    def message(self, prefix: Styled, text: Styled, indent: int) -> None:
        """A line of ours. On a terminal one that is too long goes on below, between two words and indented by so
        many columns; no word is torn, so that a path can be copied. In a pipe it is one line.
        """
        width = self._room(prefix) if self.live else 0
        for line in wrapped(text.tame(), width, indent) if width > 0 else (text,):
            self.line(prefix + line)

    def fits(self, prefix: Styled, text: str) -> bool:
        """Return whether this is one line also on a terminal."""
        return not self.live or columns(text) <= self._room(prefix)

    def _room(self, prefix: Styled) -> int:
        """Columns behind it."""
        return self._console.width - columns(prefix.plain)

    def plain(self, text: str, style: str = "") -> None:
        """A line somebody else wrote: whatever is in it is text."""
        self.line(styled(text.expandtabs(), style))

    def begin(self, key: str, text: str) -> None:
        """Show a live line for `key`, until `end`; nothing in a pipe."""
        if not self.live:
            return
        from phases.ui import echo, live

        with self._lock:
            self._bars[key] = live.Bar(text)
            if self._display is None:
                self._display = live.display(self._bars, self._console)
                echo.off()
                self._display.start()

    def note(self, key: str, text: str) -> None:
        """The last line of output, beside the running time."""
        with self._lock:
            if bar := self._bars.get(key):
                bar.last = styled(text).tame().plain

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


def columns(text: str) -> int:
    """What a terminal takes for it, some signs being two wide."""
    from rich.cells import cell_len

    return cell_len(text)


def wrapped(text: Styled, width: int, indent: int) -> Iterator[Styled]:
    """`text`, of one style, in lines of `width` columns, those after the first indented. Spaces alone are where
    it breaks.
    """
    plain = text.plain
    start = 0
    for word in re.finditer(r"\S+", plain):
        space = width - (indent if start else 0)
        if word.start() > start and columns(plain[start : word.end()]) > space:
            yield _indented(plain[start : word.start()], text.ground, indent if start else 0)
            start = word.start()
    yield _indented(plain[start:], text.ground, indent if start else 0)


def _indented(text: str, style: str, indent: int) -> Styled:
    return styled(" " * indent) + styled(text.rstrip(), style)
