"""The person's terminal, as the habitat's command gets it."""

from __future__ import annotations

import os
import select
import signal
import sys
import termios
import threading
import tty
from contextlib import contextmanager
from typing import TYPE_CHECKING

from phases.ui.output import guarded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from phases.core.engine import Exec
    from phases.core.masking import Mask

# Seconds that what may be the beginning of a secret waits for the rest: a prompt must not wait for long.
_HELD = 0.05


class LocalTerminal:
    """The terminal that doit was started from, or the pipes in its place."""

    @property
    def interactive(self) -> bool:
        """Not for habitats started side by side (-n): one terminal can be handed to one command."""
        in_turn = threading.current_thread() is threading.main_thread()
        return in_turn and os.isatty(0) and os.isatty(1)

    @property
    def size(self) -> tuple[int, int]:
        size = os.get_terminal_size(0)
        return size.lines, size.columns

    def write(self, data: bytes, is_err: bool) -> None:
        stream = sys.__stderr__ if is_err else sys.__stdout__
        assert stream
        with guarded():
            stream.buffer.write(data)
            stream.flush()

    def hand_over(self, process: Exec, mask: Mask) -> None:
        """Pass every key on as it is typed, Ctrl-C among them, and every size the window takes."""
        with _raw(0), self._resizing(process):
            inputs: list[int] = [process.fileno(), 0]
            while True:
                ready, _, _ = select.select(inputs, [], [], _HELD if mask.holds else None)
                if not ready:
                    _write_all(1, mask.flush())
                if process.fileno() in ready:
                    data = process.read()
                    _write_all(1, mask.feed(data) if data else mask.flush())
                    if not data:
                        return
                if 0 in ready:
                    keys = os.read(0, 65536)
                    if keys:
                        process.write(keys)
                    else:
                        inputs.remove(0)

    @contextmanager
    def _resizing(self, process: Exec) -> Iterator[None]:
        def resize(*_: object) -> None:
            process.resize(*self.size)

        resize()
        before = signal.signal(signal.SIGWINCH, resize)
        try:
            yield
        finally:
            signal.signal(signal.SIGWINCH, before)


@contextmanager
def _raw(fd: int) -> Iterator[None]:
    before = termios.tcgetattr(fd)
    try:
        tty.setraw(fd)
        yield
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)


def _write_all(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]
