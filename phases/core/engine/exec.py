"""Commands in a container while they run, each over the socket that the engine gives for it."""

from __future__ import annotations

import contextlib
import socket
import time
from typing import TYPE_CHECKING, Protocol

from phases.core.engine.exec_frames import FirstLine, Frames
from phases.core.engine.http import received
from phases.core.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from phases.core.engine.http import Reply

#: What a piped command begins with: it tells its number in the container, which is another one there,
#: and by which a signal can be sent to it.
OPENING = ("/bin/sh", "-c", 'echo "$$"; exec "$@"', "sh")
_SIGNAL = 'kill -s "$1" -- "-$2" 2>/dev/null || kill -s "$1" "$2"'

# Seconds that what carries a signal may take to end.
_SETTLING = 5


class Execs(Protocol):
    """What is asked of an engine about a command, by the id that this has there."""

    def exit_code(self, exec_id: str) -> int: ...

    def is_running(self, exec_id: str) -> bool: ...

    def resize(self, exec_id: str, rows: int, columns: int) -> None: ...

    def send_off(self, container: str, argv: Sequence[str], user: str) -> str: ...


class _Running:
    """A command that runs, over its line."""

    def __init__(self, execs: Execs, exec_id: str, line: Reply) -> None:
        self._execs = execs
        self._id = exec_id
        self._line = line
        self._socket = line.socket

    def fileno(self) -> int:
        return self._socket.fileno()

    def _received(self) -> bytes:
        return received(self._socket)

    def exit_code(self) -> int:
        return self._execs.exit_code(self._id)

    def close(self) -> None:
        self._line.close()


class TtyExec(_Running):
    """A command with a terminal of its own: engine.Exec."""

    def read(self) -> bytes:
        return self._received()

    def write(self, data: bytes) -> None:
        with contextlib.suppress(OSError):
            self._socket.sendall(data)

    def resize(self, rows: int, columns: int) -> None:
        with contextlib.suppress(EngineError):  # it may have ended a moment ago
            self._execs.resize(self._id, rows, columns)


class PipedExec(_Running):
    """A command with an input and two outputs: engine.Piped."""

    def __init__(self, execs: Execs, container: str, exec_id: str, line: Reply, user: str) -> None:
        super().__init__(execs, exec_id, line)
        self._container = container
        self._user = user
        self._frames = Frames()
        self._first = FirstLine()
        self._sent: list[str] = []  # signals on their way

    def read(self) -> list[tuple[bytes, bool]] | None:
        data = self._received()
        if not data:
            return None
        return [(chunk if is_err else self._first.feed(chunk), is_err) for chunk, is_err in self._frames.feed(data)]

    def write(self, data: bytes) -> int:
        try:
            return self._socket.send(data, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return 0
        except OSError:  # the command has ended, or its input is closed
            return len(data)

    def end_input(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def send_signal(self, name: str) -> None:
        if pid := self._first.number:
            argv = ("/bin/sh", "-c", _SIGNAL, "sh", name, str(pid))
            with contextlib.suppress(EngineError):  # it may have ended a moment ago
                # The number is what the command says it is: no other user's process may be meant.
                self._sent.append(self._execs.send_off(self._container, argv, self._user))

    def exit_code(self) -> int:
        self._settle()
        return super().exit_code()

    def close(self) -> None:
        super().close()
        self._settle()

    def _settle(self) -> None:
        """Wait for what carried the signals, or it is taken for somebody in the container."""
        deadline = time.monotonic() + _SETTLING
        with contextlib.suppress(EngineError):
            while self._sent and time.monotonic() < deadline:
                self._sent = [exec_id for exec_id in self._sent if self._execs.is_running(exec_id)]
                time.sleep(0.02 if self._sent else 0)
