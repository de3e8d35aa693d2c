"""Tar archives, as the engine takes files in."""

from __future__ import annotations

import io
import tarfile
import time
from typing import TYPE_CHECKING

from phases.core.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path


def add(
    tar: tarfile.TarFile,
    path: str,
    kind: str,
    mode: int,
    owner: tuple[int, int],
    source: Path | None = None,
    content: bytes = b"",
    target: str = "",
) -> None:
    """One entry of an archive that is unpacked at the container's root. Raises ConfigError."""
    info = tarfile.TarInfo(path.lstrip("/"))
    info.mode, (info.uid, info.gid), info.mtime = mode, owner, int(time.time())
    info.type = {"dir": tarfile.DIRTYPE, "link": tarfile.SYMTYPE}.get(kind, tarfile.REGTYPE)
    info.linkname = target
    if kind != "file":
        tar.addfile(info)
        return
    if source is None:
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))
        return
    try:
        with source.open("rb") as file:
            info.size = source.stat().st_size
            tar.addfile(info, file)
    except OSError as error:
        raise ConfigError(f"can't be read ({error})", where=str(source), remedy="run the same again") from error
