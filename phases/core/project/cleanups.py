"""Undo what a run has begun when it ends, also after a signal."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from phases.core import events
from phases.core.errors import EngineUnreachable, HabitatError

if TYPE_CHECKING:
    from collections.abc import Callable

    from phases.core.events.bus import Bus
    from phases.core.project.connection import EngineConnection


class Cleanups:
    """The calls that end what a run has open: at most one session or temporary container of each habitat.

    Args:
        bus: Takes a warning for each call that fails.
        connection: The connection to the engine.
    """

    def __init__(self, bus: Bus, connection: EngineConnection) -> None:
        self._bus = bus
        self._connection = connection
        self._calls: dict[str, Callable[[], None]] = {}

    def add(self, habitat: str, call: Callable[[], None]) -> None:
        """Register `call`, which ends the session or temporary container that this run has open for a habitat."""
        self._calls[habitat] = call

    def forget(self, habitat: str) -> None:
        """Drop what `add` registered, because the caller ends it now."""
        self._calls.pop(habitat, None)

    def run(self, habitat: str) -> None:
        """End the session or temporary container of a habitat, unless that was done already."""
        if call := self._calls.pop(habitat, None):
            # After a signal, an error on the way out must not replace the interrupt.
            self.attempt(habitat, call) if isinstance(sys.exception(), KeyboardInterrupt) else call()

    def run_all(self) -> None:
        """End all sessions and temporary containers of the run."""
        for habitat in list(self._calls):
            self.attempt(habitat, self._calls.pop(habitat))

    def attempt(self, habitat: str, call: Callable[[], None]) -> None:
        """Call `call` at the end of a run. If it fails, show the error and continue."""
        try:
            call()
        except HabitatError as error:
            # The end of the run reports the requests that the engine did not answer.
            if not (isinstance(error, EngineUnreachable) and self._connection.unanswered):
                self._bus.emit(events.Notice(habitat, str(error), warning=True))
