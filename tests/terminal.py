"""A person in front of a terminal, in which `doit` runs."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
import threading
from typing import TYPE_CHECKING, Self

from conftest import wait_until

if TYPE_CHECKING:
    from conftest import Project


class Terminal:
    """A `doit ARGS` with a terminal of its own. shown: all that came out of it so far.

    through: a command in the terminal that runs doit.
    """

    def __init__(
        self, project: Project, *args: str, rows: int = 40, columns: int = 100, through: tuple[str, ...] = ()
    ) -> None:
        self._master, self._slave = pty.openpty()
        self.resize(rows, columns)
        self.before = termios.tcgetattr(self._slave)
        # setsid makes it the controlling terminal, which is what Ctrl-C and a resize go through.
        self.process = subprocess.Popen(
            ("setsid", "--ctty", *through, sys.executable, "-m", "doit", *args),
            cwd=project.root,
            env={**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor"},
            stdin=self._slave,
            stdout=self._slave,
            stderr=self._slave,
        )
        self._data = b""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while data := os.read(self._master, 65536):
            self._data += data
            if self._data.endswith(b"\0"):
                return

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        if self._reader.is_alive():
            # Ends the reader, which no end of file does while this side of the terminal is open.
            os.write(self._slave, b"\0")
            self._reader.join()
        os.close(self._slave)
        os.close(self._master)

    @property
    def shown(self) -> str:
        return self._data.decode(errors="replace").replace("\r\n", "\n")

    @property
    def now(self) -> list[object]:
        return list(termios.tcgetattr(self._slave))

    def wait_for(self, text: str) -> None:
        wait_until(lambda: text in self.shown or self.process.poll() is not None, seconds=20)
        wait_until(lambda: text in self.shown, seconds=1)

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def end(self) -> int:
        try:
            code = self.process.wait(20)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it goes on, and shows:\n{self.shown}") from None
        os.write(self._slave, b"\0")
        self._reader.join()
        return code
