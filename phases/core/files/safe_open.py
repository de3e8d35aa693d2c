"""Files whose path leads wherever somebody let it lead: opened without a surprise.

A FIFO would block for good, a device never end, and a link take what is written to another place.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from io import BufferedReader
    from pathlib import Path


def open_read(path: Path) -> BufferedReader:
    """The regular file at `path`, links followed. Raises OSError, also for anything else."""
    _check(os.stat(path).st_mode)  # noqa: PTH116 (before it is opened: a device may act on that)
    return os.fdopen(_open(path, os.O_RDONLY), "rb")


def open_own(path: Path) -> IO[str]:
    """A file of ours at `path` to read and append to, made if it isn't there. Raises OSError, also for
    a link: what is written goes there and nowhere else.
    """
    descriptor = _open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW)
    return os.fdopen(descriptor, "r+", encoding="utf-8", errors="replace")


def _open(path: Path, flags: int) -> int:
    descriptor = os.open(path, flags | os.O_CLOEXEC | os.O_NONBLOCK, 0o666)
    try:
        _check(os.fstat(descriptor).st_mode)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _check(mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "Not a regular file")


def read(path: Path, limit: int) -> bytes | None:
    """The file's bytes, one more than `limit` at most; None where there is nothing. Raises OSError."""
    try:
        with open_read(path) as file:
            return file.read(limit + 1)
    except FileNotFoundError:
        if path.is_symlink():
            raise OSError(errno.ENOENT, "A link to nothing") from None
        return None
