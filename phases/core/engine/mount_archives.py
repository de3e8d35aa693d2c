"""Archives for an engine that doesn't look into mounts when it unpacks one: one for each mount."""

from __future__ import annotations

import posixpath
import tarfile
from contextlib import ExitStack, contextmanager
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING, cast

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
        places = {member.name: _place(_arrival(member, folder), mounts) for member in tar}
        if not any(places.values()):
            archive.seek(start)
            yield [(folder, archive)]
            return
        parts: dict[str, tarfile.TarFile] = {}
        for member in tar.getmembers():
            mount = places[member.name]
            if mount not in parts:
                file = files.enter_context(TemporaryFile())
                parts[mount] = files.enter_context(tarfile.TarFile(fileobj=file, mode="w"))
            content = tar.extractfile(member) if member.isreg() else None
            if mount:
                member.name = posixpath.relpath(_arrival(member, folder), mount)
            parts[mount].addfile(member, content)
        yield [(mount or folder, _finished(parts[mount])) for mount in sorted(parts)]


def _arrival(member: tarfile.TarInfo, folder: str) -> str:
    """Where a member is unpacked."""
    return posixpath.normpath(posixpath.join(folder, member.name.lstrip("/")))


def _place(path: str, mounts: Sequence[str]) -> str:
    """The innermost mount that `path` is in, "" where it is in none."""
    return max((mount for mount in mounts if path == mount or path.startswith(f"{mount}/")), key=len, default="")


def _finished(tar: tarfile.TarFile) -> IO[bytes]:
    """The whole of it, from its beginning, and nothing behind its end."""
    file, end = cast("IO[bytes]", tar.fileobj), tar.offset + 2 * tarfile.BLOCKSIZE

    tar.close()
    file.truncate(end)
    file.seek(0)
    return file
