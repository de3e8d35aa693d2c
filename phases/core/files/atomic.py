"""What is to take its place at once, whole: a file or a folder under a hidden name beside that place.

Whoever is at a draft has it locked. So one that nobody has locked was left by a run that was killed, on whatever
machine and in whatever namespace that was. On a file system without locks nothing is known of one, and it stays.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_FILE = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_FOLDER = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_DIRECTORY


@contextmanager
def file(place: Path) -> Iterator[tuple[Path, IO[bytes]]]:
    """A new file that is to be written and renamed to `place`, or is removed. Raises OSError."""
    while True:
        path = beside(place)
        with os.fdopen(os.open(path, _FILE | os.O_CREAT | os.O_EXCL, 0o666), "wb") as out:
            if not _locks(out.fileno(), path):
                continue  # it was taken for one that was left, before it was locked
            try:
                yield path, out
            except BaseException:
                path.unlink(missing_ok=True)
                raise
            return


@contextmanager
def folder(place: Path, mark: str = "") -> Iterator[Path]:
    """A new folder that is to be filled and renamed to `place`, or is removed. Raises OSError."""
    while True:
        path = beside(place, mark)
        path.mkdir()
        try:
            with held(path) as is_there:
                if is_there:
                    yield path
                    return
        finally:
            shutil.rmtree(path, ignore_errors=True)


@contextmanager
def held(path: Path) -> Iterator[bool]:
    """While this lasts, nobody takes the folder at `path` for one that was left, however it is called by then. Yields
    whether it is still there.
    """
    descriptor = os.open(path, _FOLDER)
    try:
        yield _locks(descriptor, path)
    finally:
        os.close(descriptor)


def beside(place: Path, mark: str = "") -> Path:
    """A hidden name. mark: tells what for. The digits at its end were the number of a process in earlier versions."""
    number = int.from_bytes(os.urandom(6))
    return place.with_name(".".join(filter(None, (f".{place.name}", mark, str(number)))))


def sweep(parent: Path, name: str = "", mark: str = "") -> None:
    """Remove what killed runs have left in `parent` of drafts for `name`, or for any. Raises OSError."""
    ours = ".".join(filter(None, (f".{name}", mark)))
    with os.scandir(parent) as entries:
        found = [entry.name for entry in entries]
    for path in (parent / name for name in found):
        begin, _, digits = path.name.rpartition(".")
        if digits.isdecimal() and (begin == ours if name else begin.startswith(".")):
            _remove_if_left(path)


def _remove_if_left(path: Path) -> None:
    is_folder = path.is_dir() and not path.is_symlink()
    try:
        descriptor = os.open(path, _FOLDER if is_folder else _FILE)
    except OSError:
        return  # gone, or nothing of ours
    try:
        if not _locks(descriptor, path, fcntl.LOCK_NB, without=False):
            return
        if is_folder:
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    finally:
        os.close(descriptor)


def _locks(descriptor: int, path: Path, how: int = 0, *, without: bool = True) -> bool:
    """Lock what is open. Returns whether that went well, and it is still at `path`. without: what to return where there
    are no locks.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | how)
    except BlockingIOError:
        return False
    except OSError:
        return without
    with suppress(OSError):
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    return False
