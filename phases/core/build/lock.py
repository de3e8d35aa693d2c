"""The right to build a habitat: one run has it, of all that use an engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phases.core.errors import HabitatError

if TYPE_CHECKING:
    from collections.abc import Callable

    from phases.core.engine.locks import EngineLock
    from phases.core.files.locks import FileLock


class BuildLock:
    """of_clone: for the runs of one clone, whose files below .stamps/ it guards as well, and which so meet at once;
    of_engine: for all others.
    """

    def __init__(self, of_clone: FileLock, of_engine: EngineLock) -> None:
        self._of_clone = of_clone
        self._of_engine = of_engine

    def acquire(self, tell: Callable[[str], None]) -> None:
        """Tells for whom it waits. Raises HabitatError."""
        try:
            self._of_clone.acquire(tell)
            self._of_engine.acquire(tell)
        except HabitatError:
            self.release()
            raise

    @property
    def is_held(self) -> bool:
        return self._of_engine.is_held

    def check(self) -> bool:
        """As EngineLock.check."""
        return self._of_engine.check()

    def release(self) -> None:
        self._of_engine.release()
        self._of_clone.release()
