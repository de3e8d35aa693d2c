"""Who of one clone is at a habitat: one build at a time, and any number of starts.

Locks on files are the kernel's, so they end with the process, however it ends. What other clones may be at as well is
locked on the engine (`engine_locks`).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, NamedTuple

from phases.core.errors import state_error
from phases.core.files import processes, safe_open
from phases.core.files.processes import Process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path


class FileLock:
    """An exclusive lock on the file at `path`. The file stays when the lock is released, empty.

    While it is held, the file says by whom.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[str] | None = None

    def acquire(self, tell: Callable[[str], None]) -> None:
        """Wait for the lock.

        Args:
            tell: Called once with the holder, before this waits.

        Raises:
            StateError: The file can't be written or locked.

        """
        self._file = _locked(self._path, fcntl.LOCK_EX, lambda file: tell(file.read(100).strip() or "another run"))
        self._file.truncate(0)
        with contextlib.suppress(OSError):  # on a full disk the lock holds all the same
            os.write(self._file.fileno(), _self().encode())

    def release(self) -> None:
        """Release the lock, if it is held."""
        if self._file:
            file, self._file = self._file, None
            with file:
                file.truncate(0)


def _locked(path: Path, mode: int, on_wait: Callable[[IO[str]], None] = lambda _: None) -> IO[str]:
    """Lock the file at `path`, which is created if it is missing.

    Args:
        path: The file.
        mode: LOCK_EX or LOCK_SH.
        on_wait: Called with the open file before this waits.

    Raises:
        StateError: The file can't be written or locked.

    """
    while True:
        file = _open(path)
        try:
            if not _try(file, path, mode):
                on_wait(file)
                _flock(file, path, mode)
        except BaseException:
            file.close()
            raise
        if _is(file, path):
            return file
        file.close()  # `doit clean` removed the file while this waited, so another process locks a new one


def _open(path: Path) -> IO[str]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return safe_open.open_own(path)
    except OSError as error:
        raise state_error(path, "written", error) from error


def _is(file: IO[str], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _try(file: IO[str], path: Path, mode: int) -> bool:
    try:
        _flock(file, path, mode | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _flock(file: IO[str], path: Path, mode: int) -> None:
    try:
        fcntl.flock(file, mode)
    except BlockingIOError:
        raise
    except OSError as error:
        raise state_error(path, "locked", error) from error


# Lines of a presence file: the container stays up when nobody is in it any more; it was found ready.
_STAYS = "stays"
_READY = "ready"


# Bytes of a presence file that are looked at: thousands of visits.
_SAID = 100_000

# Stands in the line of a visit before the process that it is of.
_OF = " in "


class Leaving(NamedTuple):
    """What a visit leaves behind. alone: nobody else is in the container; stays: it is to stay up."""

    alone: bool
    stays: bool


class Presence:
    """One visit to a habitat, among others: a start, a shell, a command. folder: where its files are.

    Containers are made, started and stopped by one visit at a time, and each is stopped by the last
    that is in it, unless one said that it is to stay up. The file of a container says that, and who
    came; whether somebody is in it, the locks on the file say, since a killed visit writes nothing.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = self._door = folder / "starts"

    @contextmanager
    def alone(self) -> Iterator[None]:
        """While this lasts, nobody else enters, leaves or stops a container."""
        with _locked(self._door, fcntl.LOCK_EX):
            yield

    def join(self, container: str, *, was_started: bool = False) -> None:
        """Be in the container from now on, until `leaving`. was_started: it was not running before, so
        that nothing said of it holds any more.
        """
        self._path = self._file_of(container)
        self._file = _locked(self._path, fcntl.LOCK_SH)
        if was_started:
            self._file.truncate(0)
        self._note(f"{_self()}{_OF}{processes.current()}")

    def stay(self) -> None:
        """Have the container stay up when nobody is in it any more."""
        self._note(_STAYS)

    def note_ready(self) -> None:
        self._note(_READY)

    @property
    def was_ready(self) -> bool:
        """Return whether somebody has found the container ready since it was brought up."""
        return _READY in _lines(self._file)

    def _note(self, line: str) -> None:
        with contextlib.suppress(OSError):  # the lock is none the worse where the disk is full
            os.write(self._file.fileno(), f"{line}\n".encode())

    @contextmanager
    def leaving(self) -> Iterator[Leaving]:
        with self.alone(), self._file as file:
            left = Leaving(alone=_try(file, self._path, fcntl.LOCK_EX), stays=_STAYS in _lines(file))
            yield left
            if left.alone and left.stays:
                was_ready = self.was_ready
                file.truncate(0)
                self.stay()
                if was_ready:
                    self.note_ready()
            elif left.alone:
                self._path.unlink(missing_ok=True)

    def visitors(self, container: str) -> list[str]:
        """Who is in a container, as a person would say it. To be asked while `alone`."""
        path = self._file_of(container)
        if not path.exists():
            return []
        with _open(path) as file:
            if _try(file, path, fcntl.LOCK_EX):
                return []
            there = [who for who, process in _visits(_lines(file)) if not process.is_near or process.runs]
            return there or ["another run"]

    def pids(self, container: str) -> list[int]:
        """The processes that said they are in a container, and still run; of this machine and PID namespace. Asks no
        lock, as `visitors` does, and so makes nobody wait.
        """
        try:
            said = safe_open.read(self._file_of(container), _SAID) or b""
        except OSError:
            return []
        visits = _visits(said.decode(errors="replace").splitlines())
        return sorted({process.pid for _, process in visits if process.is_near and process.runs})

    def forget(self, container: str) -> None:
        """Nothing that was said of the container holds any more. To be said while `alone`."""
        path = self._file_of(container)
        if path.exists():
            with _open(path) as file:
                file.truncate(0)  # for those who are still in it
            path.unlink()

    def _file_of(self, container: str) -> Path:
        return self._folder / f"starts.{container[:12]}"

    def discard(self, up: Iterable[str] = ()) -> None:
        """Remove the files of visits that are over. up: containers that run, and may have to stay so."""
        with self.alone():
            for path in {*self._folder.glob("starts.*")} - {self._file_of(container) for container in up}:
                with _open(path) as file:
                    if _try(file, path, fcntl.LOCK_EX):
                        path.unlink()
            if not any(self._folder.glob("starts.*")):
                self._door.unlink()


def _self() -> str:
    return f"pid {os.getpid()} since {time.strftime('%H:%M:%S')}"


def _visits(lines: Iterable[str]) -> list[tuple[str, Process]]:
    """Who is told of, and by which process each came."""
    rows = (line.partition(_OF) for line in lines)
    return [(who, process) for who, _, said in rows if (process := Process.named(said))]


def _lines(file: IO[str]) -> list[str]:
    file.seek(0)
    return file.read().splitlines()
