"""Tar archives, as the engine takes files in."""

from __future__ import annotations

import contextlib
import io
import os
import tarfile
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Self

from phases.core import files
from phases.core.errors import NO_ROOM, ConfigError, state_error

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def _spooling() -> Iterator[None]:
    """Tell of the temporary file what goes wrong with it. Raises StateError."""
    try:
        yield
    except OSError as error:
        raise state_error(Path(tempfile.tempdir or "a temporary file"), "written", error) from error


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
    ) -> None:
        """One entry. path: a leading slash is the folder that the archive is unpacked in; kind: file,
        dir or link; owner: uid and gid; source: of a file, else its `content`; target: of a link.
        Raises ConfigError for a source that can't be read.
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
            elif self._copy(info, source):
                raise ConfigError("grew while it was copied", where=str(source), remedy="run the same again")

    def _copy(self, info: tarfile.TarInfo, source: Path) -> bool:
        """Returns whether there is more in the file than it began with; one that shrinks is an OSError."""
        try:
            with files.open_read(source) as file:
                info.size = os.fstat(file.fileno()).st_size
                self._tar.addfile(info, file)
                return bool(file.read(1))
        except OSError as error:
            if error.errno in NO_ROOM:
                raise
            raise ConfigError(f"can't be read ({error})", where=str(source), remedy="run the same again") from error

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
