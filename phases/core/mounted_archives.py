"""Archives for an engine that doesn't look into mounts when it unpacks one: one for each mount."""

from __future__ import annotations

import posixpath
import tarfile
from contextlib import ExitStack, contextmanager
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


@contextmanager
def by_mount(archive: IO[bytes], folder: str, mounts: Sequence[str]) -> Iterator[list[tuple[str, IO[bytes]]]]:
    """Split a tar by where its members arrive.

    Args:
        archive: The tar, a file that can be read again.
        folder: Where it is to be unpacked.
        mounts: Absolute paths of what is mounted.

    Yields:
        Each folder with what is to be unpacked there: `folder` first, with `archive` itself where nothing of it arrives
        in a mount.
    """
    if not mounts:
        yield [(folder, archive)]
        return
    start = archive.tell()
    with tarfile.open(fileobj=archive, mode="r:") as tar, ExitStack() as files:
        places = {member.name: _place(posixpath.normpath(f"{folder}/{member.name}"), mounts) for member in tar}
        if not any(places.values()):
            archive.seek(start)
            yield [(folder, archive)]
            return
        parts: dict[str, tuple[IO[bytes], tarfile.TarFile]] = {}
        for member in tar.getmembers():
            mount = places[member.name]
            where = mount or folder
            if where not in parts:
                file = files.enter_context(TemporaryFile())
                parts[where] = (file, tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT))
            content = tar.extractfile(member) if member.isreg() else None
            if mount:
                member.name = posixpath.relpath(posixpath.normpath(f"{folder}/{member.name}"), mount)
            parts[where][1].addfile(member, content)
        yield [(where, _finished(*parts[where])) for where in sorted(parts, key=lambda where: where != folder)]


def _place(path: str, mounts: Sequence[str]) -> str:
    """The innermost mount that `path` is in, "" where it is in none."""
    return max((mount for mount in mounts if path == mount or path.startswith(f"{mount}/")), key=len, default="")


def _finished(file: IO[bytes], tar: tarfile.TarFile) -> IO[bytes]:
    """A tar from its beginning, without what is usually filled up behind its end."""
    end = tar.offset + 2 * tarfile.BLOCKSIZE
    tar.close()
    file.truncate(end)
    file.seek(0)
    return file
