"""Records which sessions of this clone are in a habitat's container."""

from __future__ import annotations

import contextlib
import fcntl
import os
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, NamedTuple

from phases.core.files import processes, safe_open
from phases.core.files.locks import describe_self, open_file, open_locked, try_lock
from phases.core.files.processes import Process

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

# Lines of a container's file: it stays running after the last session; a session found it ready; it is stopped while
# the one that is to replace it starts.
_KEEP_RUNNING = "stays"
_READY = "ready"
_STOPPED = "stopped for another"

# Bytes of a file that are read without its lock: thousands of sessions.
_READ_LIMIT = 100_000

# Separates the description of a session from its process.
_SEPARATOR = " in "


class SessionEnd(NamedTuple):
    """The state that a session leaves behind.

    is_last: no other session of this clone is in the container. keep_running: somebody asked to keep it running.
    """

    is_last: bool
    keep_running: bool


class Presence:
    """One session in a habitat's container, among others.

    One session at a time makes, starts or stops a container. The last session stops it, unless one asked to keep it
    running. Each container has a file that records this and lists the sessions. Whether a session is still in the
    container is known by its lock on the file, since a killed session writes nothing.

    Args:
        folder: The folder of the files.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = self._turn = folder / "starts"

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other sessions from entering, leaving or stopping a container."""
        with open_locked(self._turn, fcntl.LOCK_EX):
            yield

    def join(self, container: str, *, was_started: bool = False) -> None:
        """Record that this session is in the container, until `leaving`.

        Args:
            container: The id of the container.
            was_started: Whether this session started it, so that earlier records no longer hold.
        """
        self._path = self._file_of(container)
        self._file = open_locked(self._path, fcntl.LOCK_SH)
        if was_started:
            self._file.truncate(0)
        self._append(f"{describe_self()}{_SEPARATOR}{processes.current()}")

    def keep_running(self) -> None:
        """Keep the container running after the last session."""
        self._append(_KEEP_RUNNING)

    def note_ready(self) -> None:
        self._append(_READY)

    @property
    def was_ready(self) -> bool:
        """Return whether a session has found the container ready since the container was started."""
        return _READY in _lines(self._file)

    def _append(self, line: str) -> None:
        with contextlib.suppress(OSError):  # the lock holds even when the disk is full
            os.write(self._file.fileno(), f"{line}\n".encode())

    @contextmanager
    def leaving(self) -> Iterator[SessionEnd]:
        """Hold `alone`, leave the container, and yield the state that the session leaves behind."""
        with self.alone(), self._file as file:
            end = SessionEnd(
                is_last=try_lock(file, self._path, fcntl.LOCK_EX), keep_running=_KEEP_RUNNING in _lines(file)
            )
            yield end
            if end.is_last and end.keep_running:
                was_ready = self.was_ready
                file.truncate(0)
                self.keep_running()
                if was_ready:
                    self.note_ready()
            elif end.is_last:
                self._path.unlink(missing_ok=True)

    def note_stopped(self, container: str) -> None:
        """Record that a container is stopped only while another one tries to replace it."""
        with open_file(self._file_of(container)) as file:
            file.write(f"{_STOPPED}\n")

    def forget_stopped(self, container: str) -> bool:
        """Remove what `note_stopped` recorded. Return whether it was the last that happened to the container."""
        path = self._file_of(container)
        if not path.exists():
            return False
        with open_file(path) as file:
            lines = _lines(file)
            rest = [line for line in lines if line not in (_STOPPED, _READY)]
            file.truncate(0)
            file.write("".join(f"{line}\n" for line in rest))
            return _STOPPED in lines

    def sessions(self, container: str) -> list[str]:
        """Describe each session that is in a container. Call it inside `with self.alone():`."""
        path = self._file_of(container)
        if not path.exists():
            return []
        with open_file(path) as file:
            if try_lock(file, path, fcntl.LOCK_EX):
                return []
            rows = _parse(_lines(file))
            descriptions = [text for text, process in rows if not process.is_near or process.runs]
            return descriptions or ["another run"]

    def pids(self, container: str) -> list[int]:
        """List the running processes of this machine and PID namespace that have a session in a container.

        Unlike `sessions`, this takes no lock, and so delays nobody.
        """
        try:
            data = safe_open.read(self._file_of(container), _READ_LIMIT) or b""
        except OSError:
            return []
        rows = _parse(data.decode(errors="replace").splitlines())
        return sorted({process.pid for _, process in rows if process.is_near and process.runs})

    def forget(self, container: str) -> None:
        """Delete the record of a container. Call it inside `with self.alone():`."""
        path = self._file_of(container)
        if path.exists():
            with open_file(path) as file:
                file.truncate(0)  # for sessions that still have it open
            path.unlink()

    def _file_of(self, container: str) -> Path:
        return self._folder / f"starts.{container[:12]}"

    def discard(self, running: Iterable[str] = ()) -> None:
        """Remove the files of sessions that have ended.

        Args:
            running: Ids of containers that run. Their files stay, since they may say to keep the container running.
        """
        with self.alone():
            for path in {*self._folder.glob("starts.*")} - {self._file_of(container) for container in running}:
                with open_file(path) as file:
                    if try_lock(file, path, fcntl.LOCK_EX):
                        path.unlink()
            if not any(self._folder.glob("starts.*")):
                self._turn.unlink()


def _parse(lines: Iterable[str]) -> list[tuple[str, Process]]:
    """Return the description and the process of each session."""
    rows = (line.partition(_SEPARATOR) for line in lines)
    return [(text, process) for text, _, name in rows if (process := Process.named(name))]


def _lines(file: IO[str]) -> list[str]:
    file.seek(0)
    return file.read().splitlines()
