"""The requests of a cached run, sent over the engine's Unix socket without docker-py.

Importing docker-py takes 75 to 95 ms, and a run with nothing to do takes 120 ms altogether. That run lists the images.
A cached start also inspects the container and starts it, and needs docker-py only when that is done. A run that
asks to remove a container may end before the engine answers.
"""

from __future__ import annotations

import re
import select
import socket
from functools import cached_property
from typing import TYPE_CHECKING

from phases.core.engine.timeouts import POLL_INTERVAL
from phases.core.engine.transport import CHUNK, CONNECT_TIMEOUT, Response

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from phases.core.engine.timeouts import RequestTimer

_REQUESTS = re.compile(
    r"GET /_ping"
    r"|(GET /images/json|GET /containers/[^/]+/json|POST /containers/[^/]+/start|DELETE /containers/[^/]+)(\?.*)?"
)

# Bytes that the head of an answer may have: far more than any engine sends.
_LARGEST_HEAD = 1 << 20


def can_send(method: str, path: str) -> bool:
    """Return whether this module can send a request. path: without the API version."""
    return bool(_REQUESTS.fullmatch(f"{method} {path}"))


def send(unix_socket: str, method: str, path: str, timer: RequestTimer) -> FastResponse:
    """Send a request without a body. Raise OSError if that fails. path: with the API version."""
    # With HTTP/1.0 an answer comes in one piece, and ends with its connection.
    head = f"{method} {path} HTTP/1.0\r\nHost: engine\r\n\r\n".encode()
    connection = connect_unix(unix_socket)
    try:
        connection.settimeout(POLL_INTERVAL)
        timer.retry(lambda: connection.sendall(head))
    except BaseException:
        connection.close()
        raise
    return FastResponse(connection, timer)


def connect_unix(path: str) -> socket.socket:
    """Connect to a Unix socket of this machine. Raise OSError if that fails."""
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.settimeout(CONNECT_TIMEOUT)
        connection.connect(path)
    except BaseException:
        connection.close()
        raise
    return connection


class FastResponse(Response):
    """A response that may not have arrived yet."""

    def __init__(self, connection: socket.socket, timer: RequestTimer) -> None:
        self._connection = connection
        self._timer = timer
        self._body_begin = b""

    def has_begun(self, seconds: float) -> bool:
        """Wait at most `seconds`. Return whether a part of the response, or its end, has arrived."""
        return bool(select.select([self._connection], [], [], seconds)[0])

    def _receive(self) -> bytes:
        return self._timer.receive(lambda: self._connection.recv(CHUNK))

    @cached_property
    def _head(self) -> tuple[int, dict[str, str]]:
        data = b""
        while b"\r\n\r\n" not in data:
            chunk = self._receive()
            if not chunk or len(data) > _LARGEST_HEAD:
                raise ConnectionError("the answer ended inside its head")
            data += chunk
        head, _, self._body_begin = data.partition(b"\r\n\r\n")
        first, *rows = head.decode("latin-1").split("\r\n")
        status = re.match(r"HTTP/\S+ +([0-9]+)( |$)", first, re.ASCII)
        if not status:
            raise ConnectionError("the answer is not HTTP")
        return int(status[1]), {name.lower(): value.strip() for name, _, value in (row.partition(":") for row in rows)}

    @property
    def status(self) -> int:
        return self._head[0]

    @property
    def headers(self) -> Mapping[str, str]:
        return self._head[1]

    def wait_forever(self) -> None:
        self._connection.settimeout(None)

    def chunks(self) -> Iterator[bytes]:
        """Yield the body up to its announced length, else up to the end of the connection."""
        length = self.headers.get("content-length", "")
        missing = int(length) if length.isascii() and length.isdigit() else None
        chunk = self._body_begin or (b"" if missing == 0 else self._receive())
        while chunk:
            yield chunk
            missing = None if missing is None else missing - len(chunk)
            chunk = b"" if missing == 0 else self._receive()
        if missing:
            raise ConnectionError("the answer was cut off")

    def close(self) -> None:
        self._connection.close()
