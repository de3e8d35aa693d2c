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

# Lines of a container's file: it stays running after the last session; a session found it ready.
_KEEP_RUNNING = "stays"
_READY = "ready"

#: A line of a container's file: a session is about to start the container, and hasn't joined it yet.
STARTING = "is started"

#: A line of a container's file: it is stopped while the one that is to replace it starts.
STOPPED = "stopped for another"

#: A line of a container's file: another one is about to take its place.
REPLACED = "is replaced"

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
        _append(self._file, f"{describe_self()}{_SEPARATOR}{processes.current()}")

    def keep_running(self) -> None:
        """Keep the container running after the last session."""
        _append(self._file, _KEEP_RUNNING)

    def note_ready(self) -> None:
        _append(self._file, _READY)

    @property
    def was_ready(self) -> bool:
        """Return whether a session has found the container ready since the container was started."""
        return _READY in _lines(self._file)

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

    def note(self, container: str, line: str) -> None:
        """Add a line, STARTING, STOPPED or REPLACED, to the record of a container."""
        with contextlib.suppress(OSError), open_file(self._file_of(container)) as file:  # the disk may be full
            file.write(f"{line}\n")

    def drop_note(self, container: str, line: str) -> bool:
        """Remove a line that `note` added. Return whether it was there.

        The container doesn't run, or was started again, so that it is no longer known to be ready.
        """
        path = self._file_of(container)
        if not path.exists():
            return False
        with open_file(path) as file:
            lines = _lines(file)
            if line not in lines:
                return False
            rest = [other for other in lines if other not in (line, _READY)]
            file.truncate(0)
            file.write("".join(f"{other}\n" for other in rest))
        if not rest:
            path.unlink()
        return True

    def is_entered(self, container: str) -> bool:
        """Return whether a session of this clone started or joined a container, and has not left it."""
        path = self._file_of(container)
        if not path.exists():
            return False
        with open_file(path) as file:
            lines = _lines(file)
        return STARTING in lines or bool(_parse(lines))

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


def _append(file: IO[str], line: str) -> None:
    with contextlib.suppress(OSError):  # the lock holds even when the disk is full
        os.write(file.fileno(), f"{line}\n".encode())


def _lines(file: IO[str]) -> list[str]:
    file.seek(0)
    return file.read().splitlines()
