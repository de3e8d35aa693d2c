"""The right to build a habitat: one run has it, of all that use an engine.

Only the holder of the lock may remove what an interrupted or killed build has left.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from phases.core import events
from phases.core.build.leftovers import remove_leftovers
from phases.core.errors import HabitatError, Stopped
from phases.core.files.locks import FileLock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from phases.core.engine.locks import EngineLock
    from phases.core.project import Project
    from phases.protocol import Phase


class BuildLock:
    """The build lock of one habitat.

    Args:
        of_clone: The lock for the runs of this clone. It also guards the files below .stamps/.
        of_engine: The lock for all runs that use the engine.
    """

    def __init__(self, of_clone: FileLock, of_engine: EngineLock) -> None:
        self._of_clone = of_clone
        self._of_engine = of_engine

    def acquire(self, tell: Callable[[str], None]) -> None:
        """Take the lock. tell: called with the holder before this waits. Raises HabitatError."""
        try:
            self._of_clone.acquire(tell)
            self._of_engine.acquire(tell)
        except HabitatError:
            self.release()
            raise

    @property
    def is_held(self) -> bool:
        """Return whether this run has the lock."""
        return self._of_engine.is_held

    def check(self) -> bool:
        """Raise an error if another run has the lock. Returns whether another run may have had it (see EngineLock)."""
        return self._of_engine.check()

    def release(self) -> None:
        """Give the lock back."""
        self._of_engine.release()
        self._of_clone.release()


def _lock_of(project: Project, name: str) -> BuildLock:
    of_engine = project.locks.lock(f"build {project.names.of(name)}")
    return BuildLock(FileLock(project.state_folder(name) / "lock"), of_engine)


def _tell_of_holder(project: Project, name: str, holder: str) -> None:
    project.bus.emit(events.Notice(name, f"waiting for another run that builds {name} ({holder})"))


@contextmanager
def exclusive(project: Project, name: str) -> Iterator[None]:
    """Hold the build lock of a habitat that this run doesn't build. What a killed run left of it is removed.

    The caller must hold no other build lock, or two runs could wait for each other.
    """
    lock = _lock_of(project, name)
    try:
        lock.acquire(lambda holder: _tell_of_holder(project, name, holder))
        remove_leftovers(project, name)
        yield
    finally:
        lock.release()
        project.assessments.refresh(name)


class HeldLocks:
    """The build locks that a run holds, and the phases that it builds under them.

    A lock is kept from phase to phase, until `release` or until the run has to wait for another lock: a run that
    waits for a build lock holds no other one that it doesn't need, so there is no deadlock.

    Args:
        project: The project.
        before_release: Called with a habitat before its lock is given back.
    """

    def __init__(self, project: Project, before_release: Callable[[str], None]) -> None:
        self._project = project
        self._before_release = before_release
        self._guard = threading.RLock()
        self._held: dict[str, BuildLock] = {}
        self._building: dict[str, Phase] = {}

    def begin(self, name: str, phase: Phase) -> None:
        """Record that a phase is being built, so that no other thread gives the habitat's lock back. Raises Stopped."""
        with self._guard:
            self._project.maker.check()
            self._building[name] = phase

    def end(self, name: str) -> None:
        """Record that the phase is built, or has failed."""
        with self._guard:
            del self._building[name]

    @property
    def building(self) -> dict[str, Phase]:
        """The phase of each habitat that is being built."""
        with self._guard:
            return dict(self._building)

    def __contains__(self, name: str) -> bool:
        return name in self._held

    def is_held(self, name: str) -> bool:
        """Return whether the run has the lock, and doesn't only wait for it."""
        lock = self._held.get(name)
        return lock is not None and lock.is_held

    def acquire(self, name: str) -> None:
        """Take the lock of a habitat, and give those back that no phase needs. Raises HabitatError."""
        with self._guard:
            self.release_idle()
            lock = self._held[name] = _lock_of(self._project, name)
        lock.acquire(lambda holder: _tell_of_holder(self._project, name, holder))

    def check(self, name: str) -> bool:
        """Do as BuildLock.check does for the lock of a habitat. Raises Stopped if the run has ended meanwhile."""
        if lock := self._held.get(name):
            return lock.check()
        raise Stopped("the run was told to stop")

    def release(self, name: str) -> None:
        """Let other runs build the habitat."""
        with self._guard:
            self._before_release(name)
            if lock := self._held.pop(name, None):
                lock.release()

    def release_idle(self) -> None:
        """Let other runs build the habitats that this run doesn't build now."""
        with self._guard:
            for name in [name for name in self._held if name not in self._building]:
                self.release(name)

    def release_all(self) -> None:
        """Let other runs build all habitats."""
        for name in list(self._held):
            self.release(name)
