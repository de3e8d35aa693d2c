"""Parses the requests of commands in a habitat to renew a token. It trusts none of them.

A request can only name one of the tokens that the habitat has already. It decides neither what runs on the host, nor
how often.
"""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

# Bytes of a request. No name of a secret is as long.
_LONGEST = 200

# Seconds for which a token is taken for valid, unless a server refuses it: git asks more than once for one command.
# A command whose token expires in them fails, since git doesn't try again.
_FRESH = 3.0

# How often a token is renewed at most, and in how many seconds.
_MOST, _PERIOD = 20, 60.0


class TokenRequests:
    """Reads requests from a stream of bytes.

    Args:
        names: The tokens that can be renewed.
        clock: Returns the time in seconds.
    """

    def __init__(self, names: Collection[str], clock: Callable[[], float] = time.monotonic) -> None:
        self._renewals: dict[str, deque[float]] = {name: deque(maxlen=_MOST) for name in names}
        self._refused: set[str] = set()
        self._clock = clock
        self._partial = b""

    def feed(self, data: bytes) -> list[str]:
        """Return the tokens that the next bytes of the stream ask for, each once."""
        *lines, partial = (self._partial + data).split(b"\n")
        self._partial = partial if len(partial) <= _LONGEST else b""
        asked = []
        for line in dict.fromkeys(lines):
            name, _, verb = line.decode(errors="replace").partition(" ")
            if name not in self._renewals:
                continue
            if verb == "refused":
                self._refused.add(name)
            elif verb == "get":
                asked.append(name)
        return asked

    def is_due(self, name: str) -> bool:
        """Return whether a token is to be fetched again, and count that."""
        now, times = self._clock(), self._renewals[name]
        if times and now - times[-1] < _FRESH and name not in self._refused:
            return False
        if len(times) == _MOST and now - times[0] < _PERIOD:
            return False
        self._refused.discard(name)
        times.append(now)
        return True
