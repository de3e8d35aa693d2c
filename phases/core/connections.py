"""The connections to an engine: where they wait to be used again, and how answers are read from them."""

from __future__ import annotations

import http.client
import queue
from collections import deque
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import socket


class Connections:
    """Where a pool keeps the connections that nobody uses, in the place of its own queue.

    That has a lock, which an interrupt at a bad moment leaves taken, and whoever puts a connection back
    on the way out then waits for ever. What a deque does is done or not.
    """

    def __init__(self, maxsize: int = 0) -> None:
        self._free: deque[object] = deque()
        self._most = maxsize

    def get(self, block: bool = True, timeout: float | None = None) -> object:
        """The last that was put back. Nobody waits for one: a pool makes more as they are needed."""
        del block, timeout
        try:
            return self._free.pop()
        except IndexError:
            raise queue.Empty from None

    def put(self, connection: object, block: bool = True, timeout: float | None = None) -> None:
        del block, timeout
        if 0 < self._most <= len(self._free):
            raise queue.Full
        self._free.append(connection)


class Answer(http.client.HTTPResponse):
    """An answer whose head is read to its end, and not a byte beyond.

    The connection is handed over after that where a command runs in a container, and docker-py hands on
    the bare socket: what a buffer had taken of it, as of a command that is quick to print, would be lost.
    """

    def __init__(self, sock: socket.socket, *args: Any, **wishes: Any) -> None:
        super().__init__(sock, *args, **wishes)
        self.fp.close()
        self.fp = sock.makefile("rb", 1)
