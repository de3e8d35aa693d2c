"""HTTP requests to an engine: one connection for each, by whatever route leads there (`connect`).

This module loads quickly. The docker package takes longer to import than most runs take altogether.
"""

from __future__ import annotations

import os
import re
import select
import socket
from contextlib import suppress
from functools import cached_property
from types import MappingProxyType
from typing import IO, TYPE_CHECKING, NamedTuple

from phases.core.engine.timeouts import ANSWER_TIMEOUT, POLL_INTERVAL, RequestTimer, ResponseTimeout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

# Seconds that connecting may take.
_CONNECT_TIMEOUT = 10

#: Bytes that are read at a time.
CHUNK = 65536

JSON, TAR = "application/json", "application/x-tar"

#: The API version of the first request to an engine. Docker 20.10 to 28 and Podman 4 serve it.
FIRST_VERSION = "1.41"

# The newest API version that requests use: that of Docker 28.
_NEWEST_VERSION = (1, 51)

# Bytes that the head of an answer may have: far more than any engine sends.
_LARGEST_HEAD = 1 << 20

_NO_HEADERS: Mapping[str, str] = MappingProxyType({})

#: Headers that ask the engine to make the connection a stream of bytes once it has answered.
UPGRADE: Mapping[str, str] = MappingProxyType({"Connection": "Upgrade", "Upgrade": "tcp"})


class Route(NamedTuple):
    """How an engine is reached.

    Attributes:
        address: Where the engine is, as a person would write it.
        connect: Opens a connection within so many seconds, or raises OSError.
        host: The host of a URL.
        root: The path of a URL, before that of a request.
        sends_directly: Whether the engine gets what was sent even if this process ends at once. With TLS a thread of
            this process still has to pass it on.
        tls_errors: What ended connections with TLS after they were open, the newest last.
    """

    address: str
    connect: Callable[[float], socket.socket]
    host: str = "engine"
    root: str = ""
    sends_directly: bool = True
    tls_errors: Sequence[OSError] = ()


def connect_unix(path: str, timeout: float) -> socket.socket:
    """Connect to a Unix socket of this machine."""
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.settimeout(timeout)
        connection.connect(path)
    except BaseException:
        connection.close()
        raise
    return connection


def receive(connection: socket.socket) -> bytes:
    """Return the bytes that arrive next, b"" at the end.

    A reset connection counts as ended: an engine resets it when it is in a hurry, and when it is killed. The next
    request tells which of the two it was.
    """
    try:
        return connection.recv(CHUNK)
    except ConnectionError:
        return b""


def negotiate(newest: str) -> str:
    """Return the API version for requests to an engine.

    Args:
        newest: The newest version that the engine serves, as its answers say.
    """
    if not re.fullmatch(r"[0-9]+\.[0-9]+", newest, re.ASCII):
        return FIRST_VERSION
    major, _, minor = newest.partition(".")
    return ".".join(map(str, min((int(major), int(minor)), _NEWEST_VERSION)))


class HttpClient:
    """Sends requests to one engine.

    Args:
        route: How the engine is reached.
        timeout: Seconds that it may be silent.
        is_podman: Whether it is Podman.
    """

    def __init__(self, route: Route, timeout: float = ANSWER_TIMEOUT, *, is_podman: bool = False) -> None:
        self.route = route
        self.timeout = ResponseTimeout(timeout)
        self.is_podman = is_podman
        self.version = FIRST_VERSION

    def recognize(self, response: Response) -> None:
        """Note what an answer says about the engine: whether it is Podman, and which API version to use."""
        self.is_podman = response.is_podman
        self.version = negotiate(response.headers.get("api-version", ""))

    def send(
        self,
        method: str,
        path: str,
        body: bytes | IO[bytes] = b"",
        content_type: str = JSON,
        *,
        headers: Mapping[str, str] = _NO_HEADERS,
        version: str | None = None,
        action: str = "",
        expected: float = 0,
    ) -> Response:
        """Send a request.

        Args:
            method: The HTTP method.
            path: The path with its query, all quoted, without the API version.
            body: The body, bytes or a file that can seek.
            content_type: The type of the body.
            headers: Further headers.
            version: The version of the API that the path belongs to. None is the negotiated one, "" is none.
            action: What the request does, for a person who waits.
            expected: The seconds that it normally takes.

        Returns:
            The response, of which nothing was read yet. The caller closes it.

        Raises:
            OSError: The request can't be sent.
        """
        timer = RequestTimer(self.timeout, action, expected)
        version = self.version if version is None else version
        prefix = self.route.root + (f"/v{version}" if version else "")
        # With HTTP/1.0 an answer comes in one piece, and ends with its connection.
        lines = [f"{method} {prefix}{path} HTTP/1.0", f"Host: {self.route.host}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        if length := len(body) if isinstance(body, bytes) else _length(body):
            lines += [f"Content-Type: {content_type}", f"Content-Length: {length}"]
        connection = self.route.connect(min(self.timeout.seconds, _CONNECT_TIMEOUT))
        try:
            connection.settimeout(POLL_INTERVAL)
            head = "\r\n".join([*lines, "", ""]).encode()
            # An engine that refuses a body may not read all of it, and its answer says why.
            with suppress(BrokenPipeError, ConnectionResetError):
                if isinstance(body, bytes):
                    _send_bytes(connection, head + body, timer)
                else:
                    _send_bytes(connection, head, timer)
                    _send_file(connection, body, timer)
        except BaseException:
            connection.close()
            raise
        return Response(connection, timer, has_body=method != "HEAD")


def _send_bytes(connection: socket.socket, data: bytes, timer: RequestTimer) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[timer.retry(lambda: connection.send(rest)) :]  # noqa: B023 (the lambda is called at once)


def _send_file(connection: socket.socket, body: IO[bytes], timer: RequestTimer) -> None:
    end = body.tell() + _length(body)

    def send_some() -> None:
        start = body.tell()
        try:
            connection.sendfile(body, start)
        except TimeoutError:
            if body.tell() == start:
                raise

    while body.tell() < end:
        timer.retry(send_some)


def _length(body: IO[bytes]) -> int:
    """Return how many bytes are left to read."""
    start = body.tell()
    end = body.seek(0, os.SEEK_END)
    body.seek(start)
    return end - start


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


class Response:
    """An answer of the engine, read as it arrives. The caller closes it.

    Each property and method waits for the part of the answer that it needs, and may raise OSError.

    Attributes:
        socket: The connection. The streams of a command go over it once the engine has accepted the upgrade.
    """

    def __init__(self, connection: socket.socket, timer: RequestTimer, *, has_body: bool) -> None:
        self.socket = connection
        self._timer = timer
        self._has_body = has_body

    def has_begun(self, seconds: float) -> bool:
        """Wait at most `seconds`. Return whether a part of the answer, or its end, has arrived."""
        return bool(select.select([self.socket], [], [], seconds)[0])

    def _recv(self, size: int, flags: int = 0) -> bytes:
        return self._timer.retry(lambda: self.socket.recv(size, flags))

    @cached_property
    def _head(self) -> tuple[int, dict[str, str]]:
        first, *rows = self._read_head().decode("latin-1").split("\r\n")
        status = first.split(None, 2)[1:2]
        if not first.startswith("HTTP/") or not status or not _is_number(status[0]):
            raise ConnectionError("the answer is not HTTP")
        return int(status[0]), {name.lower(): value.strip() for name, _, value in (row.partition(":") for row in rows)}

    def _read_head(self) -> bytes:
        """Read the head and not a byte more: what follows may be a command's output, which goes over the socket."""
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            arrived = self._recv(CHUNK, socket.MSG_PEEK)
            if not arrived or len(head) > _LARGEST_HEAD:
                raise ConnectionError("the answer ended inside its head")
            # The end of the head may be cut in two.
            start = max(0, len(head) - 3)
            end = (head + arrived).find(b"\r\n\r\n", start)
            head += self._recv(len(arrived) if end < 0 else end + 4 - len(head))
        return head[:-4]

    @property
    def status(self) -> int:
        return self._head[0]

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers, by names in lower case."""
        return self._head[1]

    @property
    def is_podman(self) -> bool:
        """Return whether the engine is Podman, whose API differs from Docker's in details (see `podman`)."""
        return "libpod-api-version" in self.headers

    def body(self) -> bytes:
        """Return the whole body."""
        return b"".join(self.chunks())

    def stream(self) -> Iterator[bytes]:
        """Yield the body as it arrives, however long the engine is silent in between."""
        self.headers  # noqa: B018 (waits for them)
        self.socket.settimeout(None)
        yield from self.chunks()

    def chunks(self) -> Iterator[bytes]:
        """Yield the body up to its announced length, else up to the end of the connection.

        An engine that hasn't read all of a request resets the connection after its answer.
        """
        length = self.headers.get("content-length", "") if self._has_body else "0"
        missing = int(length) if _is_number(length) else None
        while missing != 0:
            chunk = self._recv(CHUNK) if missing else self._timer.retry(lambda: receive(self.socket))
            if missing is not None:
                missing -= len(chunk)
            if not chunk:
                break
            yield chunk
        if missing:
            raise ConnectionError("the answer was cut off")

    def close(self) -> None:
        self.socket.close()
