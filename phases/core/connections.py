"""Where the connections to an engine wait to be used again."""

from __future__ import annotations

import queue
from collections import deque


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
