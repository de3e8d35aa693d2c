"""The person's terminal, as the habitat's command gets it."""

from __future__ import annotations

import os
import select
import signal
import stat
import sys
import termios
import threading
import tty
from contextlib import contextmanager
from typing import TYPE_CHECKING

from phases.ui.output import guarded, is_taken

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from phases.core.engine.protocol import Exec, Piped
    from phases.core.masking import Mask

# Seconds that what may be the beginning of a secret waits for the rest: a prompt must not wait for long.
_HELD = 0.05


class LocalTerminal:
    """The terminal that doit was started from, or the pipes in its place."""

    @property
    def interactive(self) -> bool:
        """Not for habitats started side by side (-n): one terminal can be handed to one command; not where
        a program reads along, to whom what a command paints tells nothing.
        """
        in_turn = threading.current_thread() is threading.main_thread() and not is_taken()
        return in_turn and os.isatty(0) and os.isatty(1)

    @property
    def size(self) -> tuple[int, int]:
        size = os.get_terminal_size(0)
        return size.lines, size.columns

    def write(self, data: bytes, is_err: bool) -> None:
        if is_taken():
            return  # the program is told of it as of all else
        stream = sys.__stderr__ if is_err else sys.__stdout__
        assert stream
        with guarded():
            stream.buffer.write(data)
            stream.flush()

    @property
    def piped(self) -> bool:
        """A pipe or a file; /dev/null is neither."""
        if sys.__stdin__ is None:
            return False
        mode = os.fstat(0).st_mode
        return stat.S_ISFIFO(mode) or stat.S_ISREG(mode) or stat.S_ISSOCK(mode)

    def connect(self, process: Piped, show: Callable[[bytes, bool], None]) -> None:
        """Also signals: the first of each goes to the command, another ends the run."""
        waiting, more = b"", sys.__stdin__ is not None
        if not more:
            process.end_input()
        with _passing_signals(process):
            while True:
                # Nothing more is read than it takes: what is put in may have no end.
                sources = [process.fileno(), 0] if more and not waiting else [process.fileno()]
                ready, free, _ = select.select(sources, [process.fileno()] if waiting else [], [])
                if free:
                    waiting = waiting[process.write(waiting) :]
                if 0 in ready:
                    waiting = _read(0)
                    if not waiting:
                        more = False
                        process.end_input()
                if process.fileno() in ready:
                    chunks = process.read()
                    if chunks is None:
                        return
                    for data, is_err in chunks:
                        show(data, is_err)

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


def _read(fd: int) -> bytes:
    """What there is to read, b"" at the end, as of a terminal that is gone."""
    try:
        return os.read(fd, 65536)
    except OSError:
        return b""


@contextmanager
def _passing_signals(process: Piped) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():  # Python tells no other of signals
        yield
        return

    def pass_on(number: int, _frame: object) -> None:
        signal.signal(number, before[signal.Signals(number)])
        name = signal.Signals(number).name.removeprefix("SIG")
        # In a thread, since a signal may have interrupted anything, a request to the engine too.
        threading.Thread(target=process.send_signal, args=(name,), daemon=True).start()

    before = {number: signal.signal(number, pass_on) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


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
