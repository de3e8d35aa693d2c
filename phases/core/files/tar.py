"""Tar archives, the form in which an engine takes files."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import tarfile
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Self

from msgspec import Struct

from phases.core.errors import NO_ROOM, SourceChanged, state_error
from phases.core.files import safe_open

if TYPE_CHECKING:
    from collections.abc import Iterator

    from phases.core.files.tree import Item


class DockerfileArchive(Struct, frozen=True):
    """A Dockerfile with its build context, as a tar.

    Attributes:
        tar: A real file.
        dockerfile: The name of the Dockerfile, at the root of the tar.
        hidden: Names in the tar that COPY must not find, the Dockerfile's or none. A .dockerignore there has them, too.
        folder: An empty folder to unpack the tar in, where `hidden` has names.
    """

    tar: IO[bytes]
    dockerfile: str = "Dockerfile"
    hidden: tuple[str, ...] = ()
    folder: Path | None = None


@contextmanager
def _spooling() -> Iterator[None]:
    """Turn an OSError of the temporary file into a StateError."""
    try:
        yield
    except OSError as error:
        raise state_error(Path(tempfile.tempdir or "a temporary file"), "written", error) from error


class Hashed:
    """A reader of `file` that computes the sha256 of what it has read."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        """Read up to `size` bytes."""
        data = self._file.read(size)
        self._digest.update(data)
        return data

    @property
    def sha256(self) -> str:
        """The digest of what was read so far."""
        return self._digest.hexdigest()


def _member(path: str, kind: str, mode: int, owner: tuple[int, int], target: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(path.lstrip("/"))
    info.mode, (info.uid, info.gid), info.mtime = mode, owner, int(time.time())
    info.type = {"dir": tarfile.DIRTYPE, "link": tarfile.SYMTYPE}.get(kind, tarfile.REGTYPE)
    info.linkname = target
    return info


class Archive:
    """A tar archive in a temporary file. Use it in a `with` statement, or call `close`."""

    def __init__(self) -> None:
        with _spooling():
            self._spool = tempfile.TemporaryFile()  # noqa: SIM115 (closed by `close`)
            self._tar = tarfile.open(fileobj=self._spool, mode="w")  # noqa: SIM115

    def add(
        self,
        path: str,
        kind: str,
        mode: int,
        owner: tuple[int, int] = (0, 0),
        source: Path | None = None,
        content: bytes = b"",
        target: str = "",
        sha256: str = "",
    ) -> None:
        """Add one entry.

        Args:
            path: The path in the folder where the archive is unpacked; a leading slash makes no difference.
            kind: "file", "dir" or "link".
            mode: The mode bits.
            owner: The uid and gid.
            source: The file to copy, None to use `content`.
            content: The content of a file without a source.
            target: The target of a link.
            sha256: The digest that the content of `source` must have, "" for any.

        Raises:
            SourceChanged: The source can't be read, or has another content. Don't use the archive then.
            StateError: The temporary file can't be written.

        """
        self._write(_member(path, kind, mode, owner, target), source, content, sha256)

    def add_item(self, item: Item) -> None:
        """Add an item of a tree, which becomes root's, with its time if the tree is exact. Raises as `add` does."""
        info = _member(item.path, item.kind, item.mode, (0, 0), item.target)
        info.mtime = info.mtime if item.mtime is None else item.mtime
        self._write(info, item.source, b"", item.sha256)

    def _write(self, info: tarfile.TarInfo, source: Path | None, content: bytes, sha256: str) -> None:
        with _spooling():
            if not info.isreg():
                self._tar.addfile(info)
            elif source is None:
                info.size = len(content)
                self._tar.addfile(info, io.BytesIO(content))
            elif problem := self._copy(info, source, sha256):
                raise SourceChanged(source, problem)

    def _copy(self, info: tarfile.TarInfo, source: Path, sha256: str) -> str:
        """Copy a file, and return what is wrong with the copy, "" for nothing. A file that shrinks is an OSError."""
        try:
            with safe_open.open_read(source) as file:
                hashed = Hashed(file)
                info.size = os.fstat(file.fileno()).st_size
                self._tar.addfile(info, hashed)
                if file.read(1):
                    return "grew while it was copied"
        except OSError as error:
            if error.errno in NO_ROOM:
                raise
            raise SourceChanged(source, f"can't be read ({error})") from error
        return "" if sha256 in ("", hashed.sha256) else "changed since it was read for this build"

    def finish(self) -> IO[bytes]:
        """Return the archive as an open file, positioned at the start and open until `close`.

        It ends where the tar ends, without padding: an engine stops reading there, and with bytes left to read it would
        not notice that the client has disconnected.
        """
        with _spooling():
            end = self._tar.offset + 2 * tarfile.BLOCKSIZE
            self._tar.close()
            self._spool.truncate(end)
            self._spool.seek(0)
        return self._spool

    def close(self) -> None:
        """Remove the temporary file."""
        with contextlib.suppress(OSError):  # on a full disk, closing tries the failed write again
            self._spool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
