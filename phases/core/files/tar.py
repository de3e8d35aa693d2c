"""Tar archives, as the engine takes files in."""

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

from phases.core.errors import NO_ROOM, SourceChanged, state_error
from phases.core.files import safe_open

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def _spooling() -> Iterator[None]:
    """Tell of the temporary file what goes wrong with it. Raises StateError."""
    try:
        yield
    except OSError as error:
        raise state_error(Path(tempfile.tempdir or "a temporary file"), "written", error) from error


class Hashed:
    """Reads `file`, and hashes what it reads."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self._digest.update(data)
        return data

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()


class Archive:
    """A tar in a temporary file. Use it in a `with`, or `close` it."""

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
        """One entry. path: a leading slash is the folder that the archive is unpacked in; kind: file,
        dir or link; owner: uid and gid; source: of a file, else its `content`; target: of a link; sha256: of
        what the source is to hold, "" for anything. Raises SourceChanged for a source that can't be read, or
        holds something else: nothing of the archive is to be used then.
        """
        info = tarfile.TarInfo(path.lstrip("/"))
        info.mode, (info.uid, info.gid), info.mtime = mode, owner, int(time.time())
        info.type = {"dir": tarfile.DIRTYPE, "link": tarfile.SYMTYPE}.get(kind, tarfile.REGTYPE)
        info.linkname = target
        with _spooling():
            if kind != "file":
                self._tar.addfile(info)
            elif source is None:
                info.size = len(content)
                self._tar.addfile(info, io.BytesIO(content))
            elif problem := self._copy(info, source, sha256):
                raise SourceChanged(source, problem)

    def _copy(self, info: tarfile.TarInfo, source: Path, sha256: str) -> str:
        """Returns what is wrong with what was copied; a file that shrinks is an OSError."""
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
        """The whole tar, from its beginning: a real file, until `close`. Nothing stands behind its end: an engine reads
        no further, and doesn't see that who sent it has gone, as long as something is left to be read.
        """
        with _spooling():
            end = self._tar.offset + 2 * tarfile.BLOCKSIZE
            self._tar.close()
            self._spool.truncate(end)
            self._spool.seek(0)
        return self._spool

    def close(self) -> None:
        with contextlib.suppress(OSError):  # what a full disk has refused is tried once more, in vain
            self._spool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
