"""Commands that run in a container, each over the connection that the engine made a stream of bytes."""

from __future__ import annotations

import contextlib
import os
import re
import struct
import time
from typing import TYPE_CHECKING, Protocol

from phases.core.errors import EngineError
from phases.core.files.shell_program import ShellProgram

if TYPE_CHECKING:
    from collections.abc import Sequence

    from phases.core.engine.docker_py import DockerPyResponse

#: What a piped command is started with. It prints its pid in the container, which differs from the one outside,
#: so that a signal can be sent to it.
PRINT_PID = ("/bin/sh", "-c", 'echo "$$"; exec "$@"', "sh")
_SIGNAL = 'kill -s "$1" -- "-$2" 2>/dev/null || kill -s "$1" "$2"'

#: What a command with a terminal is started with, and what continues it once it was suspended.
RUN_IN_TERMINAL = ShellProgram(__file__, "run_in_terminal.sh")
_RESUME = ShellProgram(__file__, "resume.sh")
READ_PROCESS = ShellProgram(__file__, "read_process.sh")
_SUSPEND_GROUP = ShellProgram(__file__, "suspend_group.sh", READ_PROCESS)

# Ctrl-Z as terminals send it, the second on request of a program (the keyboard protocol of kitty).
_CTRL_Z = (b"\x1a", b"\x1b[122;5u")

# Seconds that the command that sends a signal may take.
_SIGNAL_TIMEOUT = 5

# The head of a frame: which output, three unused bytes, the number of bytes that follow.
_FRAME_HEAD = struct.Struct(">BxxxL")
_STDERR = 2


class FrameDecoder:
    """Separates the two outputs that the engine sends as frames in one stream."""

    def __init__(self) -> None:
        self._head = b""
        self._missing = 0
        self._is_err = False

    def feed(self, data: bytes) -> list[tuple[bytes, bool]]:
        """Return chunks of output, and whether each is of stderr. A frame may arrive in several calls."""
        chunks: list[tuple[bytes, bool]] = []
        while data:
            if not self._missing:
                missing = _FRAME_HEAD.size - len(self._head)
                self._head, data = self._head + data[:missing], data[missing:]
                if len(self._head) == _FRAME_HEAD.size:
                    kind, self._missing = _FRAME_HEAD.unpack(self._head)
                    self._head, self._is_err = b"", kind == _STDERR
                continue
            chunks.append((data[: self._missing], self._is_err))
            data, self._missing = data[self._missing :], self._missing - len(chunks[-1][0])
        return chunks


class PidReader:
    """Separates the pid that a command prints first from the rest of its output.

    Attributes:
        pid: The pid, 0 until it has arrived.
    """

    def __init__(self) -> None:
        self.pid = 0
        self._first_line: bytes | None = b""

    def feed(self, data: bytes) -> bytes:
        """Return the part of the output that is not the pid."""
        if self._first_line is None:
            return data
        line, end, rest = (self._first_line + data).partition(b"\n")
        if not end and (not line or line.isdigit()):
            self._first_line = line
            return b""
        self._first_line = None
        if line.isdigit():
            self.pid = int(line)
            return rest
        return line + end + rest


class ExecApi(Protocol):
    """The requests about a command, by the id that the engine gave it."""

    def exit_code(self, exec_id: str) -> int: ...

    def exec_is_running(self, exec_id: str) -> bool: ...

    def resize(self, exec_id: str, rows: int, columns: int) -> None: ...

    def start_detached(self, container: str, argv: Sequence[str], user: str) -> str: ...


class _RunningExec:
    """A running command and its connection."""

    def __init__(self, api: ExecApi, container: str, exec_id: str, response: DockerPyResponse, user: str) -> None:
        self._api = api
        self._container = container
        self._id = exec_id
        self._response = response
        self._stream = response.connection
        self._user = user
        self._asides: list[str] = []  # the ids of commands that send a signal and may still run

    def fileno(self) -> int:
        return self._stream.fileno()

    def exit_code(self) -> int:
        self._wait_for_asides()
        return self._api.exit_code(self._id)

    def close(self) -> None:
        self._response.close()
        self._wait_for_asides()

    def _run_aside(self, script: str, *args: str) -> None:
        """Run a command that sends a signal, as the same user: others' processes must not get it."""
        with contextlib.suppress(EngineError):  # the command may have ended a moment ago
            argv = ("/bin/sh", "-c", script, "sh", *args)
            self._asides.append(self._api.start_detached(self._container, argv, self._user))

    def _wait_for_asides(self) -> None:
        """Wait for the commands that send signals. While they run, the container looks used by another session."""
        deadline = time.monotonic() + _SIGNAL_TIMEOUT
        with contextlib.suppress(EngineError):
            while self._asides and time.monotonic() < deadline:
                self._asides = [exec_id for exec_id in self._asides if self._api.exec_is_running(exec_id)]
                time.sleep(0.02 if self._asides else 0)


class SuspensionReader:
    """Separates the reports of the shell that runs a command in a terminal from its output (`run_in_terminal.sh`).

    Attributes:
        report: What begins a report. Nobody else knows it.
        pid: The pid of that shell, 0 until it is known.
        is_suspended: Whether the command and the shell are stopped.
    """

    def __init__(self) -> None:
        self.report = f"habitat;{os.urandom(8).hex()}"
        self.pid = 0
        self.is_suspended = False
        self._begin = f"\0{self.report};".encode()
        self._whole = re.compile(rb"\0?" + re.escape(self._begin[1:]) + rb"([rs]);(\d+)\0")
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """Return the part of the output that is no report. What may be the beginning of one is held back."""
        data = self._held + data
        while match := self._whole.search(data):
            self.is_suspended, self.pid = match[1] == b"s", int(match[2])
            data = data[: match.start()] + data[match.end() :]
        start = self._incomplete_start(data)
        self._held = data[start:]
        return data[:start]

    def _incomplete_start(self, data: bytes) -> int:
        """Return where a report begins that is not complete, else the end of `data`."""
        if self._begin[1:] in data:
            return data.index(self._begin[1:])
        lengths = range(len(self._begin) - 1, 1, -1)  # a lone NUL may pass: it isn't seen
        return len(data) - next((length for length in lengths if data.endswith(self._begin[:length])), 0)

    def end(self) -> bytes:
        """Return what was held back."""
        held, self._held = self._held, b""
        return held


class TtyExec(_RunningExec):
    """A command with a terminal of its own (see `protocol.Exec`)."""

    def __init__(
        self,
        api: ExecApi,
        container: str,
        exec_id: str,
        response: DockerPyResponse,
        user: str,
        suspensions: SuspensionReader,
    ) -> None:
        super().__init__(api, container, exec_id, response, user)
        self._suspensions = suspensions

    @property
    def is_suspended(self) -> bool:
        return self._suspensions.is_suspended

    def read(self) -> bytes | None:
        if data := self._stream.receive():
            return self._suspensions.feed(data)
        return self._suspensions.end() or None

    def write(self, data: bytes) -> None:
        with contextlib.suppress(OSError):
            self._stream.send(data)
        if self._suspensions.pid and any(key in data for key in _CTRL_Z):
            self._run_aside(_SUSPEND_GROUP.text, str(self._suspensions.pid))

    def resume(self) -> None:
        self._suspensions.is_suspended = False
        self._run_aside(_RESUME.text, str(self._suspensions.pid))

    def resize(self, rows: int, columns: int) -> None:
        with contextlib.suppress(EngineError):  # it may have ended a moment ago
            self._api.resize(self._id, rows, columns)


class PipedExec(_RunningExec):
    """A command with an input and two outputs (see `protocol.Piped`)."""

    def __init__(self, api: ExecApi, container: str, exec_id: str, response: DockerPyResponse, user: str) -> None:
        super().__init__(api, container, exec_id, response, user)
        self._decoder = FrameDecoder()
        self._pid_reader = PidReader()

    def read(self) -> list[tuple[bytes, bool]] | None:
        data = self._stream.receive()
        if not data:
            return None
        chunks = self._decoder.feed(data)
        return [(chunk if is_err else self._pid_reader.feed(chunk), is_err) for chunk, is_err in chunks]

    def write(self, data: bytes) -> int:
        try:
            return self._stream.send_some(data)
        except OSError:  # the command has ended, or has closed its input
            return len(data)

    def end_input(self) -> None:
        with contextlib.suppress(OSError):
            self._stream.end_input()

    def send_signal(self, name: str) -> None:
        # The command may print any number as its pid.
        if pid := self._pid_reader.pid:
            self._run_aside(_SIGNAL, name, str(pid))
