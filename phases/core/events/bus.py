"""Passes the events of a run on to all who asked for them."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from phases.core.events import Event


class Bus:
    """Hands events to the subscribers, one at a time, from whichever thread they come."""

    def __init__(self) -> None:
        self._subscribers: list[Callable[[Event], None]] = []
        self._lock = threading.RLock()
        self._closed = False

    def subscribe(self, subscriber: Callable[[Event], None]) -> None:
        self._subscribers.append(subscriber)

    def emit(self, event: Event) -> None:
        with self._lock:
            if self._closed:
                return
            for subscriber in self._subscribers:
                subscriber(event)

    def close(self) -> None:
        """Drop all further events: the run is over, though some of its threads may still work."""
        with self._lock:
            self._closed = True
