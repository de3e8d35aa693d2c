"""Write files and folders atomically: a draft under a hidden name beside the place, then a rename.

The process that writes a draft holds a lock on it. So a draft without a lock was left by a process that was killed,
on whatever machine or in whatever PID namespace, and can be removed. On a file system without locks nothing tells
such drafts apart, and they stay.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING

from phases.core.errors import state_error
from phases.core.files import safe_open

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_FILE = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_FOLDER = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_DIRECTORY


def write_if_changed(path: Path, data: bytes) -> None:
    """Replace the file at `path` with `data`, unless it holds `data` already.

    Raises:
        StateError: The file can't be written. It is as it was.

    """
    try:
        if _holds(path, data):
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        with draft_file(path) as (draft, out):
            out.write(data)
            out.flush()
            draft.replace(path)
    except OSError as error:
        raise state_error(path, "written", error) from error


def _holds(path: Path, data: bytes) -> bool:
    """Return whether the file holds `data`; a file that can't be read does not."""
    try:
        return not path.is_symlink() and safe_open.read(path, len(data)) == data
    except OSError:
        return False


@contextmanager
def draft_file(place: Path) -> Iterator[tuple[Path, IO[bytes]]]:
    """Yield the path of a new file, and the open file, for the caller to write and to rename to `place`.

    The file is removed if the caller raises an exception. Raises OSError.
    """
    while True:
        path = draft_path(place)
        with os.fdopen(os.open(path, _FILE | os.O_CREAT | os.O_EXCL, 0o666), "wb") as out:
            if not _lock(out.fileno(), path):
                continue  # another process removed the file before it was locked
            try:
                yield path, out
            except BaseException:
                path.unlink(missing_ok=True)
                raise
            return


@contextmanager
def draft_folder(place: Path, mark: str = "") -> Iterator[Path]:
    """Yield a new folder for the caller to fill and to rename to `place`.

    The folder is removed if it is still there at the end. Raises OSError.
    """
    while True:
        path = draft_path(place, mark)
        path.mkdir()
        try:
            with lock_folder(path) as is_there:
                if is_there:
                    yield path
                    return
        finally:
            shutil.rmtree(path, ignore_errors=True)


@contextmanager
def lock_folder(path: Path) -> Iterator[bool]:
    """Lock the folder at `path`, so that no `sweep` removes it under any name. Yields whether it is still there."""
    descriptor = os.open(path, _FOLDER)
    try:
        yield _lock(descriptor, path)
    finally:
        os.close(descriptor)


def draft_path(place: Path, mark: str = "") -> Path:
    """Return a hidden, unused path beside `place`: `.NAME.MARK.DIGITS`.

    Earlier versions wrote the number of the process where the digits are.

    Args:
        place: The path that the draft is for.
        mark: What the draft is for, where a place has drafts of several kinds.
    """
    number = int.from_bytes(os.urandom(6))
    return place.with_name(".".join(filter(None, (f".{place.name}", mark, str(number)))))


def sweep(parent: Path, name: str = "", mark: str = "") -> None:
    """Remove the drafts in the folder `parent` that killed processes left.

    Args:
        parent: The folder.
        name: The name that the drafts are for, "" for any.
        mark: The mark of the drafts, "" for none.

    Raises:
        OSError: The folder can't be read.

    """
    ours = ".".join(filter(None, (f".{name}", mark)))
    with os.scandir(parent) as entries:
        names = [entry.name for entry in entries]
    for entry_name in names:
        begin, _, digits = entry_name.rpartition(".")
        if digits.isdecimal() and (begin == ours if name else begin.startswith(".")):
            _remove_unlocked(parent / entry_name)


def sweep_state(folder: Path) -> None:
    """Remove the drafts that killed processes left in a folder below .stamps/. Raises StateError."""
    try:
        sweep(folder)
    except OSError as error:
        raise state_error(folder, "swept", error) from error


def _remove_unlocked(path: Path) -> None:
    is_folder = path.is_dir() and not path.is_symlink()
    try:
        descriptor = os.open(path, _FOLDER if is_folder else _FILE)
    except OSError:
        return  # it is gone, or it is no draft
    try:
        if not _lock(descriptor, path, fcntl.LOCK_NB, without_locks=False):
            return
        if is_folder:
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    finally:
        os.close(descriptor)


def _lock(descriptor: int, path: Path, flag: int = 0, *, without_locks: bool = True) -> bool:
    """Lock an open file or folder, and return whether it is locked and still at `path`.

    Args:
        descriptor: The open file or folder.
        path: Where it was opened.
        flag: LOCK_NB to return False where another process has the lock; else this waits.
        without_locks: What to return on a file system without locks.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | flag)
    except BlockingIOError:
        return False
    except OSError:
        return without_locks
    with suppress(OSError):
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    return False
