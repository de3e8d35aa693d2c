"""A request to an engine, its response, and the route between: what `fast_path` and `docker_py` have in common."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator, Mapping

    from phases.core.engine.timeouts import RequestTimer

#: Seconds that connecting may take.
CONNECT_TIMEOUT = 10

#: Bytes that are read at a time. A TLS record has fewer.
CHUNK = 65536

JSON, TAR = "application/json", "application/x-tar"


def docker_folder() -> Path:
    """Return the folder with docker's config.json. For an account without a home folder, it is one that isn't there."""
    # Path.expanduser raises an error for such an account.
    return Path(os.environ.get("DOCKER_CONFIG") or os.path.expanduser("~/.docker"))  # noqa: PTH111


class Route(NamedTuple):
    """How an engine is reached.

    Attributes:
        address: Where the engine is, as a person would write it.
        socket: The path of its Unix socket, "" if it is reached over TCP.
        url: What the URLs of its requests begin with.
        tls: The certificates to use and to trust, for a URL that begins with https.
    """

    address: str
    socket: str = ""
    url: str = "http://engine"
    tls: ssl.SSLContext | None = None


class Request(NamedTuple):
    """A request.

    Attributes:
        method: The HTTP method.
        path: The path with the API version and the query, all quoted.
        timer: Waits for the answer.
        headers: The headers.
        body: The body, bytes or a file that can seek.
    """

    method: str
    path: str
    timer: RequestTimer
    headers: Mapping[str, str]
    body: bytes | IO[bytes] = b""


class Response(ABC):
    """An answer of the engine, read as it arrives. The caller closes it.

    Each property and method waits for the part of the answer that it needs, and may raise OSError.
    """

    @property
    @abstractmethod
    def status(self) -> int: ...

    @property
    @abstractmethod
    def headers(self) -> Mapping[str, str]:
        """The headers, by names in lower case."""

    @property
    def is_podman(self) -> bool:
        """Return whether the engine is Podman, whose API differs from Docker's in details (see `podman_api`)."""
        return "libpod-api-version" in self.headers

    @abstractmethod
    def wait_forever(self) -> None:
        """Let the engine be silent for any time from now on, because what it streams may be."""

    @abstractmethod
    def chunks(self) -> Iterator[bytes]:
        """Yield the body."""

    def body(self) -> bytes:
        """Return the whole body."""
        return b"".join(self.chunks())

    def stream(self) -> Iterator[bytes]:
        """Yield the body as it arrives, however long the engine is silent in between."""
        self.wait_forever()
        return self.chunks()

    @abstractmethod
    def close(self) -> None: ...
