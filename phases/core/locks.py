"""One build of a habitat at a time, in one clone of the project."""

from __future__ import annotations

import fcntl
import os
import time
from typing import IO, TYPE_CHECKING

from phases.core.errors import StateError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class BuildLock:
    """Holds `.stamps/NAME/lock` until released, or until the process ends, however it ends."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[str] | None = None

    def acquire(self, on_wait: Callable[[str], None]) -> bool:
        """Returns whether it had to wait; on_wait is told for whom before it does. Raises StateError."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            file = self._path.open("a+")
        except OSError as error:
            raise StateError(
                f"can't be written ({error.strerror})", where=str(self._path), remedy="make .stamps/ writable for you"
            ) from error
        waited = False
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waited = True
            file.seek(0)
            on_wait(file.read().strip() or "another run")
            fcntl.flock(file, fcntl.LOCK_EX)
        file.truncate(0)
        file.write(f"pid {os.getpid()} since {time.strftime('%H:%M:%S')}")
        file.flush()
        self._file = file
        return waited

    def release(self) -> None:
        if self._file:
            self._file.truncate(0)
            self._file.close()
            self._file = None
