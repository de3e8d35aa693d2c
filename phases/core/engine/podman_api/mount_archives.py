"""Archives for an engine that doesn't unpack into mounts: one archive for each mount."""

from __future__ import annotations

import posixpath
import tarfile
from contextlib import ExitStack, contextmanager
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


@contextmanager
def split_by_mount(archive: IO[bytes], folder: str, mounts: Sequence[str]) -> Iterator[list[tuple[str, IO[bytes]]]]:
    """Split a tar by the mounts that its members belong to.

    Args:
        archive: The tar, a file that can seek.
        folder: The folder that it is unpacked in.
        mounts: The absolute paths of the mounts.

    Yields:
        Each folder with the tar to unpack there, `folder` first. It gets `archive` itself if no member belongs to a
        mount.
    """
    if not mounts:
        yield [(folder, archive)]
        return
    start = archive.tell()
    with tarfile.open(fileobj=archive, mode="r:") as tar, ExitStack() as files:
        places = {member.name: _mount_of(_destination(member, folder), mounts) for member in tar}
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
                member.name = posixpath.relpath(_destination(member, folder), mount)
            parts[mount].addfile(member, content)
        yield [(mount or folder, _finish(parts[mount])) for mount in sorted(parts)]


def _destination(member: tarfile.TarInfo, folder: str) -> str:
    """Return the path where a member is unpacked."""
    return posixpath.normpath(posixpath.join(folder, member.name.lstrip("/")))


def _mount_of(path: str, mounts: Sequence[str]) -> str:
    """Return the innermost mount that `path` is in, "" if it is in none."""
    return max((mount for mount in mounts if path == mount or path.startswith(f"{mount}/")), key=len, default="")


def _finish(tar: tarfile.TarFile) -> IO[bytes]:
    """End a tar. Return its file at the start, without padding: Podman fails on what follows the end."""
    file, end = cast("IO[bytes]", tar.fileobj), tar.offset + 2 * tarfile.BLOCKSIZE

    tar.close()
    file.truncate(end)
    file.seek(0)
    return file
