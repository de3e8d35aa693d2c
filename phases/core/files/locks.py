"""Locks on files, for runs of one clone.

The kernel holds these locks and releases them when the process ends, however it ends. What runs of several clones share
is locked on the engine (`engine.locks`).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from typing import IO, TYPE_CHECKING

from phases.core.errors import state_error
from phases.core.files import safe_open

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

# Bytes of the holder's description.
_DESCRIPTION = 100


class FileLock:
    """An exclusive lock on the file at `path`. The file stays when the lock is released, and is empty then."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[str] | None = None

    def acquire(self, on_wait: Callable[[str], None]) -> None:
        """Take the lock.

        Args:
            on_wait: Called with a description of the holder before this waits.

        Raises:
            StateError: The file can't be opened or locked.
        """
        self._file = open_locked(
            self._path, fcntl.LOCK_EX, lambda file: on_wait(file.read(_DESCRIPTION).strip() or "another run")
        )
        self._file.truncate(0)
        with contextlib.suppress(OSError):  # the lock holds even when the disk is full
            os.write(self._file.fileno(), describe_self().encode())

    def release(self) -> None:
        """Release the lock, if it is held."""
        if self._file:
            file, self._file = self._file, None
            with file:
                file.truncate(0)


def open_locked(path: Path, mode: int, on_wait: Callable[[IO[str]], None] = lambda _: None) -> IO[str]:
    """Open the file at `path`, which is made if it is missing, and lock it.

    Args:
        path: The file.
        mode: LOCK_SH or LOCK_EX.
        on_wait: Called with the open file before this waits.

    Raises:
        StateError: The file can't be opened or locked.
    """
    while True:
        file = open_file(path)
        try:
            if not try_lock(file, path, mode):
                on_wait(file)
                _flock(file, path, mode)
        except BaseException:
            file.close()
            raise
        if _is_same_file(file, path):
            return file
        file.close()  # `habitat clean` removed the file in the meantime, so this lock guards nothing


def open_file(path: Path) -> IO[str]:
    """Open the file at `path`, which is made if it is missing. Raises StateError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return safe_open.open_own(path)
    except OSError as error:
        raise state_error(path, "written", error) from error


def try_lock(file: IO[str], path: Path, mode: int) -> bool:
    """Lock an open file without waiting. Returns whether it is locked now. Raises StateError."""
    try:
        _flock(file, path, mode | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def describe_self() -> str:
    """Return a description of this process for the person who waits for it."""
    return f"pid {os.getpid()} since {time.strftime('%H:%M:%S')}"


def _is_same_file(file: IO[str], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _flock(file: IO[str], path: Path, mode: int) -> None:
    try:
        fcntl.flock(file, mode)
    except BlockingIOError:
        raise
    except OSError as error:
        raise state_error(path, "locked", error) from error
