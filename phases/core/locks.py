"""Who is at a habitat: one build at a time, and any number of starts.

Locks are the kernel's, so they end with the process, however it ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import stat
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

from phases.core import files
from phases.core.errors import StateError, state_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator


def _lock(path: Path, mode: int, on_wait: Callable[[IO[str]], None] = lambda _: None) -> IO[str]:
    """The file at `path`, locked; made if it isn't there. on_wait: gets it before this waits."""
    while True:
        file = _open(path)
        if not _try(file, mode):
            on_wait(file)
            fcntl.flock(file, mode)
        if _is(file, path):
            return file
        file.close()  # `doit clean` has removed it meanwhile: it guards nothing any more


def _open(path: Path) -> IO[str]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return files.open_own(path)
    except OSError as error:
        raise state_error(path, "written", error) from error


def _is(file: IO[str], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _try(file: IO[str], mode: int) -> bool:
    try:
        fcntl.flock(file, mode | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def shared_path(engine: str, what: str) -> Path | None:
    """The lock of something on an engine, for all clones of one person on one machine: of a habitat's images,
    by its name; of another thing, whose name has a space.

    None where somebody else has been at its folder, since what he put there is not to be written to,
    and on a machine that has no place for temporary files.
    """
    with contextlib.suppress(OSError):
        folder = Path(tempfile.gettempdir()) / f"habitats-{os.getuid()}"
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
        if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077:
            return folder / f"{hashlib.sha256(f'{engine} {what}'.encode()).hexdigest()[:32]}.lock"
    return None


class BuildLock:
    """Holds the file at `path` until released, and the one at `shared`, which is gone afterwards.

    A machine that has no place for the shared one does without.
    """

    def __init__(self, path: Path, shared: Path | None = None) -> None:
        self._path = path
        self._shared = shared
        self._files: list[IO[str]] = []
        self.held = self._has_shared = False

    def acquire(self, on_wait: Callable[[str], None]) -> bool:
        """Returns whether it had to wait; on_wait is told for whom before it does. Raises StateError."""
        waited = False

        def tell(file: IO[str]) -> None:
            nonlocal waited
            waited = True
            file.seek(0)
            on_wait(file.read(100).strip() or "another run")

        self._take(self._path, tell)
        if self._shared:
            with contextlib.suppress(StateError):
                self._take(self._shared, tell)
                self._has_shared = True
        self.held = True
        return waited

    def _take(self, path: Path, on_wait: Callable[[IO[str]], None]) -> None:
        file = _lock(path, fcntl.LOCK_EX, on_wait)
        self._files.append(file)
        file.truncate(0)
        with contextlib.suppress(OSError):  # the lock is none the worse where the disk is full
            os.write(file.fileno(), _self().encode())

    def release(self) -> None:
        if self._shared and self._has_shared:
            # Who waits for it looks whether it is still there.
            with contextlib.suppress(OSError):
                self._shared.unlink()
        self.held = self._has_shared = False
        while self._files:
            file = self._files.pop()
            file.truncate(0)
            file.close()


class UseLock:
    """Holds the file at `path`, alone or with others that don't want to be, until released; the last takes it
    away. path: None on a machine that has no place for it, which does without.
    """

    def __init__(self, path: Path | None, *, alone: bool) -> None:
        self._path = path
        self._mode = fcntl.LOCK_EX if alone else fcntl.LOCK_SH
        self._file: IO[str] | None = None

    def acquire(self, on_wait: Callable[[str], None]) -> None:
        """on_wait is told for whom, before this waits."""
        if self._path is None:
            return
        with contextlib.suppress(StateError):
            self._file = _lock(self._path, self._mode, lambda file: on_wait("".join(_lines(file)[-1:]) or "another"))
            with contextlib.suppress(OSError):  # the lock is none the worse where the disk is full
                self._file.truncate(0)
                os.write(self._file.fileno(), _self().encode())

    def release(self) -> None:
        """Who waits for the file looks whether it is still there, so only who has it alone may remove it."""
        if self._file is None or self._path is None:
            return
        file, self._file = self._file, None
        with file, contextlib.suppress(OSError):
            if _try(file, fcntl.LOCK_EX) and _is(file, self._path):
                self._path.unlink()


@contextmanager
def turn(path: Path, wait: Callable[[str], None]) -> Iterator[None]:
    """While this lasts, nobody else has the turn that the file at `path` stands for; it is gone afterwards.

    wait: called as long as somebody has it, with who that is; it lets a while pass, or raises what ends the waiting.
    Raises StateError.
    """
    with _taken(path, wait) as file:
        try:
            with contextlib.suppress(OSError):
                os.write(file.fileno(), _self().encode())
            yield
        finally:
            with contextlib.suppress(OSError):
                path.unlink()


def _taken(path: Path, wait: Callable[[str], None]) -> IO[str]:
    while True:
        with contextlib.ExitStack() as stack:
            file = stack.enter_context(_open(path))
            while not _try(file, fcntl.LOCK_EX):
                file.seek(0)
                wait(file.read(100).strip() or "another run")
            if _is(file, path):
                file.truncate(0)
                stack.pop_all()
                return file


# Lines of a presence file: the container stays up when nobody is in it any more; it was found ready.
_STAYS = "stays"
_READY = "ready"


# Bytes of a presence file that are looked at: thousands of visits.
_SAID = 100_000


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
        with _lock(self._door, fcntl.LOCK_EX):
            yield

    def join(self, container: str, *, brought_up: bool = False) -> None:
        """Be in the container from now on, until `leaving`. brought_up: it was not running before, so
        that nothing said of it holds any more.
        """
        self._path = self._file_of(container)
        self._file = _lock(self._path, fcntl.LOCK_SH)
        if brought_up:
            self._file.truncate(0)
        self._note(_self())

    def stay(self) -> None:
        """Have the container stay up when nobody is in it any more."""
        self._note(_STAYS)

    def note_ready(self) -> None:
        self._note(_READY)

    @property
    def was_ready(self) -> bool:
        """Whether somebody has found the container ready since it was brought up."""
        return _READY in _lines(self._file)

    def _note(self, line: str) -> None:
        with contextlib.suppress(OSError):  # the lock is none the worse where the disk is full
            os.write(self._file.fileno(), f"{line}\n".encode())

    @contextmanager
    def leaving(self) -> Iterator[Leaving]:
        with self.alone(), self._file as file:
            left = Leaving(alone=_try(file, fcntl.LOCK_EX), stays=_STAYS in _lines(file))
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
            if _try(file, fcntl.LOCK_EX):
                return []
            there = [line for line in _lines(file) if (pid := line.split()[1:2]) and Path("/proc", *pid).exists()]
            return there or ["another run"]

    def pids(self, container: str) -> list[int]:
        """The processes that said they are in a container, and still run. Asks no lock, as `visitors`
        does, and so makes nobody wait.
        """
        try:
            said = files.read(self._file_of(container), _SAID) or b""
        except OSError:
            return []
        words = [line.split() for line in said.decode(errors="replace").splitlines()]
        pids = {int(line[1]) for line in words if line[:1] == ["pid"] and line[1:2] and line[1].isdecimal()}
        return sorted(pid for pid in pids if Path("/proc", str(pid)).exists())

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
                    if _try(file, fcntl.LOCK_EX):
                        path.unlink()
            if not any(self._folder.glob("starts.*")):
                self._door.unlink()


def _self() -> str:
    return f"pid {os.getpid()} since {time.strftime('%H:%M:%S')}"


def _lines(file: IO[str]) -> list[str]:
    file.seek(0)
    return file.read().splitlines()
