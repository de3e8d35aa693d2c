"""The engine of a run, and the locks that the run holds on it."""

from __future__ import annotations

import threading
from functools import cached_property
from typing import TYPE_CHECKING

from phases.core.engine.background import BackgroundTasks
from phases.core.engine.timeouts import SILENCE
from phases.core.errors import EngineUnreachable

if TYPE_CHECKING:
    from collections.abc import Callable

    from phases.core.engine.background import ContainerCreator
    from phases.core.engine.locks import EngineLocks
    from phases.core.engine.protocol import Engine
    from phases.core.errors import HabitatError


class EngineConnection:
    """The engine of a run, connected when it is first needed.

    Args:
        connect: Returns the engine.
        maker: Makes containers until the run is told to stop.
        report: Shows a warning about an engine that is slow to answer.

    Attributes:
        tasks: What the engine is asked to do while the run continues.
    """

    def __init__(self, connect: Callable[[], Engine], maker: ContainerCreator, report: Callable[[str], None]) -> None:
        self._connect = connect
        self._maker = maker
        self._report = report
        self._locks: EngineLocks | None = None
        self._guard = threading.RLock()
        self._hurries = False
        self._children: list[EngineConnection] = []
        self._has_reported = False
        self.tasks = BackgroundTasks(self._report_leftover)

    def child(self, maker: ContainerCreator) -> EngineConnection:
        """Return a connection to the same engine, with locks and tasks of its own, that hurries when this one does."""
        child = EngineConnection(lambda: self.engine, maker, self._report)
        self._children.append(child)
        if self._hurries:
            child.hurry()
        return child

    def _report_leftover(self, error: HabitatError) -> None:
        # The next request reports an engine that is gone. One of several refusals is enough.
        if not isinstance(error, EngineUnreachable) and not self._has_reported:
            self._has_reported = True
            self._report(f"{error}: the next run that builds the habitat does that")

    def wait_for_tasks(self) -> None:
        """Wait for what the engine does in the background, unless the run has to end, and say so if it takes long."""
        if self._hurries:
            self.tasks.drop()
            return
        if not self.tasks.wait(SILENCE):
            self._report("waiting for the engine to remove old images; Ctrl-C leaves them to the next run")
            self.tasks.wait()

    @cached_property
    def engine(self) -> Engine:
        """The engine. Raises EngineUnreachable."""
        failures: list[BaseException] = []

        def report() -> None:
            try:
                self._report("still waiting for the engine to answer; Ctrl-C ends the run")
            except BaseException as error:  # noqa: BLE001 (such as that nobody reads our output: raised below)
                failures.append(error)

        waiting = threading.Timer(SILENCE, report)
        waiting.daemon = True
        waiting.start()
        try:
            engine = self._connect()
        finally:
            waiting.cancel()
        if failures:
            raise failures[0]
        engine.timeout.report = self._report
        if self._hurries:
            engine.timeout.shorten()
        return engine

    @property
    def is_open(self) -> bool:
        """Return whether the run has connected to the engine."""
        return "engine" in self.__dict__

    def hurry(self) -> None:
        """Wait only a little longer for the engine, since the run has to end. A signal handler calls this."""
        self._hurries = True
        if self.is_open:
            self.engine.timeout.shorten()
        for child in self._children:
            child.hurry()

    @property
    def unanswered(self) -> list[str]:
        """The requests whose answers this run gave up on because it had to end."""
        return self.engine.timeout.unanswered if self.is_open else []

    @property
    def locks(self) -> EngineLocks:
        """The locks of the engine. The module is loaded if the run builds, or makes a container."""
        with self._guard:
            if self._locks is None:
                from phases.core.engine.locks import EngineLocks

                self._locks = EngineLocks(self.engine, self._maker)
            return self._locks

    def close_locks(self) -> None:
        """Release all locks that this run has on the engine."""
        if self._locks:
            self._locks.close()
