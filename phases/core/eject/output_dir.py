"""Write an ejected folder, whole or not at all, and never over a person's changes."""

from __future__ import annotations

import hashlib
import os
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from phases.core.eject.context import ARCHIVE, ContextFile
from phases.core.errors import NO_ROOM, ConfigError, SourceChanged, StateError
from phases.core.files import atomic, safe_open
from phases.core.files.tar import Archive, Hashed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

#: The file that marks an ejected folder. It has a digest of the folder's content.
MARK = ".ejected"

_LARGEST = 1 << 20

# The mode bits with which the owner of a folder can change what is in it.
_OWN = 0o700

# Temporary folders beside the target: one that will replace it, and one that was replaced.
_KINDS = _NEW, _OLD = "ejecting", "ejected"


@contextmanager
def _disk_errors(shown: str) -> Iterator[None]:
    """Turn an OSError into a StateError."""
    try:
        yield
    except OSError as error:
        remedy = (
            "make room on the disk"
            if error.errno in NO_ROOM
            else "check its permissions, or give another folder with --to"
        )
        raise StateError(f"can't be written ({error.strerror or error})", where=shown, remedy=remedy) from error


def check(place: Path, shown: str) -> None:
    """Check that the folder may be written.

    Raises:
        StateError: Something is there that `habitat eject` didn't write, or that a person changed.
    """
    with _disk_errors(shown):
        if not os.path.lexists(place) or _is_empty(place):
            return
        mark = safe_open.read(place / MARK, _LARGEST) if place.is_dir() and not place.is_symlink() else None
        if mark is None:
            raise StateError("exists, and `eject` didn't write it", where=shown, remedy="give another folder with --to")
        if mark.decode(errors="replace").strip() != _digest(place):
            raise StateError(
                "was changed since it was ejected", where=shown, remedy="move it, or give another folder with --to"
            )


def write(place: Path, shown: str, contents: Sequence[ContextFile], archived: Sequence[ContextFile]) -> None:
    """Write the folder, or replace the one that an earlier run wrote.

    Raises:
        HabitatError: It can't be written; an earlier folder stays as it is.
    """
    with _disk_errors(shown):
        place.parent.mkdir(parents=True, exist_ok=True)
        for kind in _KINDS:
            atomic.sweep(place.parent, place.name, kind)
        with atomic.draft_folder(place, _NEW) as fresh:
            _fill(fresh, contents, archived)
            (fresh / MARK).write_text(f"{_digest(fresh)}\n")
            if os.path.lexists(place):
                with atomic.lock_folder(place):
                    _replace(place, fresh)
            else:
                fresh.rename(place)


def _fill(folder: Path, contents: Sequence[ContextFile], archived: Sequence[ContextFile]) -> None:
    for file in contents:
        _write(folder / file.path, file)
    for file in contents:
        if file.kind == "dir":
            (folder / file.path).chmod(file.mode | _OWN)  # whatever its mode, a person can remove the folder
    if archived:
        with Archive() as archive:
            for file in archived:
                archive.add(
                    file.path, file.kind, file.mode, (0, 0), file.source, file.content, file.target, file.sha256
                )
            with (folder / ARCHIVE).open("wb") as out:
                shutil.copyfileobj(archive.finish(), out)


def _write(path: Path, file: ContextFile) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if file.kind == "link":
        path.symlink_to(file.target)
        return
    if file.kind == "dir":
        path.mkdir(exist_ok=True)
        return
    if file.source is None:
        path.write_bytes(file.content)
    else:
        _copy(file.source, path, file.sha256)
    path.chmod(file.mode)


def _copy(source: Path, path: Path, sha256: str) -> None:
    try:
        with safe_open.open_read(source) as data, path.open("wb") as out:
            hashed = Hashed(data)
            shutil.copyfileobj(hashed, out)
    except OSError as error:
        if error.errno in NO_ROOM:
            raise
        raise ConfigError(
            f"can't be read ({error.strerror})", where=str(source), remedy="run the same command again"
        ) from error
    if sha256 not in ("", hashed.sha256):
        raise SourceChanged(source, "changed while it was copied")


def _replace(place: Path, fresh: Path) -> None:
    """Replace a folder. After a kill between the two renames, the next run removes the old folder."""
    old = atomic.draft_path(place, _OLD)
    place.rename(old)
    try:
        fresh.rename(place)
    except OSError:
        old.rename(place)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _is_empty(place: Path) -> bool:
    return place.is_dir() and not place.is_symlink() and not any(place.iterdir())


def _digest(place: Path) -> str:
    """Return a digest of the folder without the mark: names, contents, executable bits, targets of links."""
    digest = hashlib.sha256()
    for path in _below(place):
        name = os.fsencode(path.relative_to(place))
        if path.is_symlink():
            kind, data = b"link", os.fsencode(path.readlink())
        elif path.is_dir():
            kind, data = b"dir", b""
        else:
            kind = b"program" if path.stat().st_mode & 0o100 else b"file"
            with safe_open.open_read(path) as file:
                data = hashlib.file_digest(file, "sha256").digest()
        digest.update(b"%d %b %b %d %b" % (len(name), name, kind, len(data), data))
    return digest.hexdigest()


def _below(place: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(place):
        folders.sort()
        links = [name for name in folders if Path(folder, name).is_symlink()]
        for name in sorted([*names, *folders]):
            if name != MARK or folder != str(place):
                yield Path(folder, name)
        folders[:] = [name for name in folders if name not in links]
