"""Requests to an engine's HTTP API: a connection for each, by whatever way leads there (`reaching`), and nothing that
takes long to load. The docker package takes longer to import than most runs take altogether.
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

from phases.core.engine.patience import GLANCE, PATIENCE, Patience, Vigil
from phases.core.errors import Conflict, EngineError, EngineUnreachable, NotFound, full_disk_remedy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

# Seconds that a connection may take to be made.
_DIALLING = 10

#: Bytes that are read at a time.
CHUNK = 65536

JSON, TAR = "application/json", "application/x-tar"

#: The API version of a request to an engine that has answered nothing yet. Docker 20.10 to 28 and Podman 4 serve it.
FIRST_VERSION = "1.41"

# The newest API version that requests use: that of Docker 28.
_NEWEST_VERSION = (1, 51)

# Bytes of the head of an answer: far above any.
_LONGEST_HEAD = 1 << 20

_NONE: Mapping[str, str] = MappingProxyType({})

#: Headers that ask the engine to make the connection a stream of bytes once it has answered.
UPGRADE: Mapping[str, str] = MappingProxyType({"Connection": "Upgrade", "Upgrade": "tcp"})


def refusal(what: str, status: int, reason: str) -> EngineError:
    """What to raise where the engine has answered with `status` to `what` was asked of it."""
    kind = {404: NotFound, 409: Conflict}.get(status, EngineError)
    reason = reason.strip().rstrip(".")
    return kind(f"{what}: {reason}", remedy=full_disk_remedy(reason))


def gone(what: str) -> EngineUnreachable:
    """What to raise where the engine hasn't answered any more."""
    return EngineUnreachable(f"{what}: the engine stopped answering", remedy="see that it runs, then do the same again")


def received(line: socket.socket) -> bytes:
    """What comes, b"" at its end. An engine that is in a hurry, or gone, resets the connection: which of the two, what
    is asked next tells.
    """
    try:
        return line.recv(CHUNK)
    except ConnectionError:
        return b""


def lost(what: str) -> EngineUnreachable:
    """What to raise where the engine goes on with something, and the connection to it doesn't."""
    return EngineUnreachable(f"{what}: the connection to the engine was lost", remedy="do the same again")


class Way(NamedTuple):
    """A way to an engine.

    address: where that is, as a person would write it; dial: connects within so many seconds, or raises OSError; host,
    root: of a URL; carries_on: whether what was sent is the engine's to do, although this process may be gone; trouble:
    what a connection has ended by that nobody could be told of.
    """

    address: str
    dial: Callable[[float], socket.socket]
    host: str = "engine"
    root: str = ""
    carries_on: bool = True
    trouble: Sequence[OSError] = ()


def dial(path: str, patience: float) -> socket.socket:
    """Connect to a socket of this machine."""
    line = socket.socket(socket.AF_UNIX)
    try:
        line.settimeout(patience)
        line.connect(path)
    except BaseException:
        line.close()
        raise
    return line


class Api:
    """The API of the engine that a way leads to. patience: seconds that it may be silent for; is_podmans: whether
    Podman answers there.
    """

    def __init__(self, way: Way, patience: float = PATIENCE, *, is_podmans: bool = False) -> None:
        self.address = way.address
        self.is_podmans = is_podmans
        self.carries_on = way.carries_on
        self.patience = Patience(patience)
        self.way = way
        self.version = FIRST_VERSION

    def recognize(self, reply: Reply) -> None:
        """Note what an answer of the engine says about it: whether it is Podman, and which API version to use."""
        self.is_podmans = reply.is_podmans
        self.version = negotiate(reply.headers.get("api-version", ""))

    def send(
        self,
        method: str,
        path: str,
        body: bytes | IO[bytes] = b"",
        kind: str = JSON,
        *,
        headers: Mapping[str, str] = _NONE,
        version: str | None = None,
        what: str = "",
        due: float = 0,
    ) -> Reply:
        """Send a request. path: with its query, all quoted; kind: of the body; version: of the API that the path
        belongs to, None for the negotiated one, "" for a path without a version; what: the text for a person who waits;
        due: seconds that the request normally takes. Raises OSError where it can't be sent.
        """
        vigil = Vigil(self.patience, what, due)
        prefix = self.way.root + (f"/v{chosen}" if (chosen := self.version if version is None else version) else "")
        # Of HTTP/1.0, so that an answer comes in one piece and ends with its connection.
        head = [f"{method} {prefix}{path} HTTP/1.0", f"Host: {self.way.host}"]
        head += [f"{name}: {value}" for name, value in headers.items()]
        if length := len(body) if isinstance(body, bytes) else _length(body):
            head += [f"Content-Type: {kind}", f"Content-Length: {length}"]
        line = self.way.dial(min(self.patience.seconds, _DIALLING))
        try:
            line.settimeout(GLANCE)
            data = "\r\n".join([*head, "", ""]).encode()
            # Who refuses a body may not read all of it, and has said why.
            with suppress(BrokenPipeError, ConnectionResetError):
                if isinstance(body, bytes):
                    _send(line, data + body, vigil)
                else:
                    _send(line, data, vigil)
                    _upload(line, body, vigil)
        except BaseException:
            line.close()
            raise
        return Reply(line, vigil, has_body=method != "HEAD")


def negotiate(newest: str) -> str:
    """Return the API version for requests to an engine.

    Args:
        newest: The newest version that the engine serves, as its answers say.
    """
    if not re.fullmatch(r"[0-9]+\.[0-9]+", newest, re.ASCII):
        return FIRST_VERSION
    major, _, minor = newest.partition(".")
    return ".".join(map(str, min((int(major), int(minor)), _NEWEST_VERSION)))


def _send(line: socket.socket, data: bytes, vigil: Vigil) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[vigil.wait(lambda: line.send(rest)) :]  # noqa: B023 (is called at once)


def _upload(line: socket.socket, body: IO[bytes], vigil: Vigil) -> None:
    end = body.tell() + _length(body)

    def some() -> None:
        start = body.tell()
        try:
            line.sendfile(body, start)
        except TimeoutError:
            if body.tell() == start:
                raise

    while body.tell() < end:
        vigil.wait(some)


def _length(body: IO[bytes]) -> int:
    """Bytes that are left to be read."""
    start = body.tell()
    end = body.seek(0, os.SEEK_END)
    body.seek(start)
    return end - start


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


class Reply:
    """An answer as it comes: all that is asked of it waits for it, and may raise OSError. To be closed.

    socket: the bare connection, over which a command is spoken to once the engine has handed it over.
    """

    def __init__(self, line: socket.socket, vigil: Vigil, *, has_body: bool) -> None:
        self.socket = line
        self._vigil = vigil
        self._has_body = has_body

    def has_begun(self, seconds: float) -> bool:
        """Wait at most `seconds`. Returns whether a part of the answer, or its end, has arrived."""
        return bool(select.select([self.socket], [], [], seconds)[0])

    def _recv(self, size: int, flags: int = 0) -> bytes:
        return self._vigil.wait(lambda: self.socket.recv(size, flags))

    @cached_property
    def _head(self) -> tuple[int, dict[str, str]]:
        first, *rows = self._read_head().decode("latin-1").split("\r\n")
        status = first.split(None, 2)[1:2]
        if not first.startswith("HTTP/") or not status or not _is_number(status[0]):
            raise ConnectionError("what came is no answer")
        return int(status[0]), {name.lower(): value.strip() for name, _, value in (row.partition(":") for row in rows)}

    def _read_head(self) -> bytes:
        """To its end, and not a byte beyond: what follows may be a command's, for whoever reads the bare socket."""
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            seen = self._recv(CHUNK, socket.MSG_PEEK)
            if not seen or len(head) > _LONGEST_HEAD:
                raise ConnectionError("the answer ended before it had begun")
            # The end may have been cut in two.
            start = max(0, len(head) - 3)
            end = (head + seen).find(b"\r\n\r\n", start)
            head += self._recv(len(seen) if end < 0 else end + 4 - len(head))
        return head[:-4]

    @property
    def status(self) -> int:
        return self._head[0]

    @property
    def headers(self) -> Mapping[str, str]:
        """By names in lower case."""
        return self._head[1]

    @property
    def is_podmans(self) -> bool:
        """Whether the engine is Podman. Its API differs from Docker's in details (see `podman`)."""
        return "libpod-api-version" in self.headers

    def body(self) -> bytes:
        """To its end."""
        return b"".join(self.pieces())

    def chunks(self) -> Iterator[bytes]:
        """As they come, however long that takes."""
        self.headers  # noqa: B018 (is waited for)
        self.socket.settimeout(None)
        yield from self.pieces()

    def pieces(self) -> Iterator[bytes]:
        """To the length that was told, else as far as they come: an engine that hasn't read all of a request resets the
        connection behind its answer.
        """
        length = self.headers.get("content-length", "") if self._has_body else "0"
        left = int(length) if _is_number(length) else None
        while left != 0:
            piece = self._recv(CHUNK) if left else self._vigil.wait(lambda: received(self.socket))
            if left is not None:
                left -= len(piece)
            if not piece:
                break
            yield piece
        if left:
            raise ConnectionError("the answer was cut off")

    def close(self) -> None:
        self.socket.close()
