"""Files in a container, through the archive API."""

from __future__ import annotations

import io
import json
import os
from base64 import urlsafe_b64decode
from typing import IO, TYPE_CHECKING, Any

from phases.core.engine.docker_api import responses
from phases.core.engine.docker_api.api import ApiClient, path, stopped_answering
from phases.core.engine.types import LARGEST_FILE, PathInfo, Stat
from phases.core.errors import EngineError, EngineUnreachable, NotFound

if TYPE_CHECKING:
    from collections.abc import Iterator

    from phases.core.engine.transport import Response

#: The header in which the archive API describes a path.
STAT_HEADER = "x-docker-container-path-stat"

# Translates standard base64 to the alphabet for URLs.
_URL_ALPHABET = str.maketrans("+/", "-_")


class DockerArchives(ApiClient):
    """The methods of the engine protocol that read and write files in a container."""

    def put_archive(self, container: str, folder: str, archive: IO[bytes]) -> None:
        url = path("/containers/{}/archive", container, path=folder, noOverwriteDirNonDir="true")
        self._request(f"copying into {folder}", "PUT", url, archive)

    def read_file(self, container: str, path: str) -> bytes | None:
        try:
            with self._open(f"reading {path!a}", "GET", archive_path(container, path)) as response:
                stat = stat_row(response)
                data = _read_limited(response, path)
        except EngineError as error:
            if _is_missing_path(error):
                return None
            raise
        import tarfile

        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            member = tar.next()
            if member and member.issym():
                return self.read_file(container, stat["linkTarget"])
            file = tar.extractfile(member) if member and member.isreg() else None
            return file.read() if file else None

    def path_info(self, container: str, path: str, *, content: bool = False) -> PathInfo | None:
        import tarfile

        action = f"looking at {path!a}"
        try:
            # The archive of a folder has all that is in it, so the connection is closed after the first entry.
            with (
                self._open(action, "GET", archive_path(container, path)) as response,
                tarfile.open(fileobj=ChunkStream(response.stream()), mode="r|") as tar,
            ):
                member = tar.next()
                if member is None:
                    return None
                if content and member.size > LARGEST_FILE:
                    raise too_large(path)
                file = tar.extractfile(member) if content and member.isreg() else None
                return responses.path_info(member, file.read() if file else b"")
        except tarfile.TarError as error:
            raise stopped_answering(action) from error
        except EngineError as error:
            if _is_missing_path(error):
                return None
            raise

    def stat(self, container: str, path: str) -> Stat | None:
        try:
            with self._open(f"looking at {path!a}", "HEAD", archive_path(container, path)) as response:
                return responses.stat(stat_row(response))
        except EngineUnreachable:
            raise
        except EngineError:
            # The answer to HEAD doesn't say why the path can't be described.
            return None if self.read_file(container, path) is None else Stat(is_dir=False, mode=0)


def archive_path(container: str, inside: str) -> str:
    """Return the path of a request for the archive of a path in a container."""
    return path("/containers/{}/archive", container, path=os.fsencode(inside))


def stat_row(response: Response) -> Any:
    """Return how the archive API describes a path. Podman encodes it in the alphabet for URLs."""
    return json.loads(urlsafe_b64decode(response.headers[STAT_HEADER].translate(_URL_ALPHABET)))


def _read_limited(response: Response, path: str) -> bytes:
    data = bytearray()
    for chunk in response.chunks():
        data += chunk
        if len(data) > LARGEST_FILE:
            raise too_large(path)
    return bytes(data)


def too_large(path: str) -> EngineError:
    """Return the error for a file that is larger than LARGEST_FILE."""
    return EngineError(f"reading {path!a}: it is larger than {LARGEST_FILE >> 20} MB")


class ChunkStream(io.RawIOBase):
    """Chunks as a file that is read once."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        self._rest = self._rest or next(self._chunks, b"")
        data, self._rest = self._rest[: len(buffer)], self._rest[len(buffer) :]
        buffer[: len(data)] = data
        return len(data)


def _is_missing_path(error: EngineError) -> bool:
    """Return whether the engine says that a path leads nowhere. A file in the place of a folder is a server error."""
    text = error.message.lower()
    return "no such container" not in text and (
        isinstance(error, NotFound) or any(words in text for words in ("not a directory", "too many l"))
    )
