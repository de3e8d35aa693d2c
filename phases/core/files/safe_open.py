"""Open files whose path somebody else may control: no device, no FIFO, and no link where we write.

A FIFO would block for ever, a device may never end, and a link would redirect what is written.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from io import BufferedReader
    from pathlib import Path

#: How many links Linux follows on the way to one file.
MAX_LINKS = 40


def open_read(path: Path) -> BufferedReader:
    """Open the regular file at `path` to read, through links. Raises OSError, also for anything but a regular file."""
    _check(os.stat(path).st_mode)  # noqa: PTH116 (before it is opened: opening a device may have an effect)
    return os.fdopen(_open(path, os.O_RDONLY), "rb")


def open_own(path: Path) -> IO[str]:
    """Open a file of this program to read and append, and create it if it is missing.

    Raises:
        OSError: The file can't be opened, or is a link: nothing must be written through one.

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
    """Read a regular file.

    Args:
        path: The file.
        limit: How many bytes the caller accepts. A longer file is read to one byte more, so that the caller sees it.

    Returns:
        The content, None if there is no file.

    Raises:
        OSError: The file can't be read, is not regular, or is a link to nothing.

    """
    try:
        with open_read(path) as file:
            return file.read(limit + 1)
    except FileNotFoundError:
        if path.is_symlink():
            raise OSError(errno.ENOENT, "A link to nothing") from None
        return None
