"""The engine's API on a Unix socket of this machine: a connection for each request, and nothing that takes long to
load. The docker package takes longer to import than most runs take altogether.
"""

from __future__ import annotations

import os
import socket
from contextlib import closing, suppress
from functools import cached_property
from pathlib import Path
from typing import IO, TYPE_CHECKING

from phases.core import questions
from phases.core.api import CHUNK, GREETING, JSON, PATIENCE, nobody_at

if TYPE_CHECKING:
    from collections.abc import Iterator

_DEFAULT = "unix:///var/run/docker.sock"

# Bytes of the head of an answer: far above any.
_LONGEST_HEAD = 1 << 20


def socket_path() -> str:
    """Of the current engine; "" where it isn't on a socket of this machine, as far as a glance tells."""
    host = os.environ.get("DOCKER_HOST") or ("" if _has_context() else _DEFAULT)
    return host.removeprefix("unix://") if host.startswith("unix:///") else ""


def _has_context() -> bool:
    """Whether a docker context may say where the engine is."""
    if os.environ.get("DOCKER_CONTEXT"):
        return True
    folder = os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker"
    try:
        return b"currentContext" in Path(folder, "config.json").read_bytes()
    except FileNotFoundError:
        return False
    except OSError:
        return True


# The reply to the question for the images, from when that is asked until an engine is wanted.
_asked: list[SocketReply] = []


def ask_ahead() -> None:
    """Ask for the images, if nobody has: whoever connects next has the reply, and the engine works on it meanwhile."""
    if not _asked and (place := socket_path()):
        with suppress(OSError):
            _asked.append(SocketApi(place, GREETING).send("GET", questions.IMAGES))


def connect() -> tuple[SocketApi, SocketReply | None]:
    """To the engine at `socket_path`, and the reply to what was asked ahead.

    Raises EngineUnreachable when none answers there within seconds.
    """
    api = SocketApi(socket_path())
    if _asked:
        reply = _asked.pop()
        with suppress(OSError):
            if reply.is_engines():
                return api, reply
        reply.close()
    try:
        with closing(SocketApi(socket_path(), GREETING).send("GET", "/_ping")) as reply:
            if reply.is_engines():
                return api, None
    except OSError as error:
        raise nobody_at(api.address, error) from error
    raise nobody_at(api.address)


class SocketApi:
    """phases.core.api.Api. patience: seconds that the engine may be silent for."""

    #: What the engine has read it does: a closed connection ends none of its work.
    carries_on = True

    def __init__(self, path: str, patience: float = PATIENCE) -> None:
        self.address = os.environ.get("DOCKER_HOST") or "the default socket"
        self.patience = patience
        self._path = path

    def send(
        self, method: str, path: str, body: bytes | IO[bytes] = b"", kind: str = JSON, *, hands_over: bool = False
    ) -> SocketReply:
        # Of HTTP/1.0, so that an answer comes in one piece and ends with its connection.
        head = [f"{method} {path} HTTP/1.0", "Host: engine"]
        if hands_over:
            head += ["Connection: Upgrade", "Upgrade: tcp"]
        if length := len(body) if isinstance(body, bytes) else _length(body):
            head += [f"Content-Type: {kind}", f"Content-Length: {length}"]
        line = socket.socket(socket.AF_UNIX)
        try:
            line.settimeout(self.patience)
            line.connect(self._path)
            data = "\r\n".join([*head, "", ""]).encode()
            # Who refuses a body may not read all of it, and has said why.
            with suppress(BrokenPipeError, ConnectionResetError):
                if isinstance(body, bytes):
                    line.sendall(data + body)
                else:
                    line.sendall(data)
                    line.sendfile(body)
        except BaseException:
            line.close()
            raise
        return SocketReply(line, has_body=method != "HEAD")


def _length(body: IO[bytes]) -> int:
    """Bytes that are left to be read."""
    start = body.tell()
    end = body.seek(0, os.SEEK_END)
    body.seek(start)
    return end - start


class SocketReply:
    """phases.core.api.Reply."""

    def __init__(self, line: socket.socket, *, has_body: bool) -> None:
        self.socket = line
        self._has_body = has_body

    @cached_property
    def _head(self) -> tuple[int, dict[str, str]]:
        first, *rows = self._read_head().decode("latin-1").split("\r\n")
        status = first.split(None, 2)[1:2]
        if not first.startswith("HTTP/") or not status or not status[0].isdigit():
            raise ConnectionError("what came is no answer")
        return int(status[0]), {name.lower(): value.strip() for name, _, value in (row.partition(":") for row in rows)}

    def _read_head(self) -> bytes:
        """To its end, and not a byte beyond: what follows may be a command's, for whoever reads the bare socket."""
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            seen = self.socket.recv(CHUNK, socket.MSG_PEEK)
            if not seen or len(head) > _LONGEST_HEAD:
                raise ConnectionError("the answer ended before it had begun")
            # The end may have been cut in two.
            start = max(0, len(head) - 3)
            end = (head + seen).find(b"\r\n\r\n", start)
            head += self.socket.recv(len(seen) if end < 0 else end + 4 - len(head))
        return head[:-4]

    @property
    def status(self) -> int:
        return self._head[0]

    @property
    def headers(self) -> dict[str, str]:
        return self._head[1]

    def is_engines(self) -> bool:
        """Whether it is what an engine says, of Docker's or like it, and no refusal."""
        return self.status == 200 and "api-version" in self.headers

    def body(self) -> bytes:
        return b"".join(self._pieces())

    def chunks(self) -> Iterator[bytes]:
        self.headers  # noqa: B018 (is waited for)
        self.socket.settimeout(None)
        yield from self._pieces()

    def _pieces(self) -> Iterator[bytes]:
        """To the length that was told: an engine that has refused to read on resets what comes after."""
        length = self.headers.get("content-length") if self._has_body else "0"
        left = int(length) if length else None
        while left != 0:
            piece = self.socket.recv(CHUNK)
            if left is not None:
                left -= len(piece)
            if not piece:
                break
            yield piece
        if left:
            raise ConnectionError("the answer was cut off")

    def line(self) -> SocketReply:
        self.socket.settimeout(None)
        return self

    def close(self) -> None:
        self.socket.close()
