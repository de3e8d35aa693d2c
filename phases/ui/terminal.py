"""The terminal of doit, as a command in the habitat uses it."""

from __future__ import annotations

import os
import select
import signal
import stat
import sys
import termios
import threading
import tty
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from phases.ui import signals
from phases.ui.output import OutputLost, guarded, is_taken

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from phases.core.engine.protocol import Exec, Piped
    from phases.core.masking import Mask

# Seconds to hold back output that may be the beginning of a secret. A prompt must appear soon.
_HOLD_SECONDS = 0.05

# As terminals send it, the second on request of a program (the keyboard protocol of kitty).
_CTRL_C = (b"\x03", b"\x1b[99;5u")


class LocalTerminal:
    """The terminal, or the pipes, that doit was started with.

    Attributes:
        is_interrupted: Whether Ctrl-C was the last key that a command got.
    """

    def __init__(self) -> None:
        self.is_interrupted = False

    @property
    def interactive(self) -> bool:
        """Return whether a command can get the terminal.

        Not with `doit -n`, which runs several commands at once, and not with JSON lines on standard output.
        """
        is_only_user = threading.current_thread() is threading.main_thread() and not is_taken()
        return is_only_user and os.isatty(0) and os.isatty(1)

    @property
    def size(self) -> tuple[int, int]:
        size = os.get_terminal_size(0)
        return size.lines, size.columns

    def write(self, data: bytes, is_err: bool) -> None:
        if is_taken():
            return  # the program gets it as events
        stream = sys.__stderr__ if is_err else sys.__stdout__
        assert stream
        with guarded():
            stream.buffer.write(data)
            stream.flush()

    def shows(self, is_err: bool) -> bool:
        return os.isatty(2 if is_err else 1)

    @property
    def piped(self) -> bool:
        """Return whether standard input is a pipe or a file. /dev/null is neither."""
        if sys.__stdin__ is None:
            return False
        mode = os.fstat(0).st_mode
        return stat.S_ISFIFO(mode) or stat.S_ISREG(mode) or stat.S_ISSOCK(mode)

    def connect(self, process: Piped, show: Callable[[bytes, bool], None]) -> None:
        """Connect standard input and output to a command until it ends.

        The first signal of a kind goes to the command, the second ends the run.
        """
        waiting, more = b"", sys.__stdin__ is not None
        if not more:
            process.end_input()
        with _passing_signals(process):
            while True:
                # Read no more than the command has taken: the input may be endless.
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
        """Connect the terminal to a command until it ends: each key, Ctrl-C too, and each size of the window.

        A command that is suspended suspends doit, so that the shell that doit was started from can continue both.
        """
        while not self._connect_keys(process, mask):
            os.killpg(0, signal.SIGTSTP)

    def _connect_keys(self, process: Exec, mask: Mask) -> bool:
        """Connect the terminal to a command until it ends (True) or is suspended (False)."""
        with _raw(0), self._resizing(process):
            if process.is_suspended:
                process.resume()
            while True:
                ready, _, _ = select.select([process.fileno(), 0], [], [], _HOLD_SECONDS if mask.holds else None)
                if not ready:
                    _write_all(1, mask.flush())
                if process.fileno() in ready:
                    data = process.read()
                    _write_all(1, mask.feed(data) if data else mask.flush())
                    if process.is_suspended:
                        _write_all(1, mask.flush())
                        return False
                    if data is None:
                        return True
                if 0 in ready:
                    if not (keys := _read(0)):
                        raise OutputLost("the terminal is gone")
                    self.is_interrupted = keys.endswith(_CTRL_C)
                    process.write(keys)

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
    """Return the available input, b"" at its end or if the terminal has gone."""
    try:
        return os.read(fd, 65536)
    except OSError:
        return b""


@contextmanager
def _passing_signals(process: Piped) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():  # Python handles signals there only
        yield
        return

    def pass_on(number: int, _frame: object) -> None:
        signal.signal(number, before[signal.Signals(number)])
        name = signal.Signals(number).name.removeprefix("SIG")
        # In a thread, since the signal may have interrupted a request to the engine.
        threading.Thread(target=process.send_signal, args=(name,), daemon=True).start()

    before = {number: signal.signal(number, pass_on) for number in signals.ending_signals()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _raw(fd: int) -> Iterator[None]:
    before = termios.tcgetattr(fd)
    try:
        tty.setraw(fd, termios.TCSADRAIN)  # what a person has typed by now is kept
        yield
    finally:
        with suppress(termios.error):  # the terminal is gone
            termios.tcsetattr(fd, termios.TCSADRAIN, before)


def _write_all(fd: int, data: bytes) -> None:
    with guarded():
        while data:
            data = data[os.write(fd, data) :]
