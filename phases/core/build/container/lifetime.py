"""The states of a build container, and the one place that reuses a container.

    NONE ──► CREATED ──► IDLE ◄──► BUSY ◄──► PAUSED
      │         ▲          ▲
      └─────────┴──────────┘  from the container of the phase before

After the phase, a container that is CREATED or IDLE and equal to an image can be left to the next phase. Any other is
removed.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING

from phases.core.build.container.pool import ReusableContainer
from phases.core.cache.image_labels import COMMENT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from phases.core.build.container.file_cache import FolderCache
    from phases.core.build.container.spec import ContainerSpec
    from phases.core.build.context import PhaseContext


class State(Enum):
    """The states of a build container."""

    #: It doesn't exist yet.
    NONE = auto()
    #: It was created, but not started.
    CREATED = auto()
    #: It runs, and nothing that a command has started runs in it.
    IDLE = auto()
    #: It runs, and a command runs in it or may have left something running.
    BUSY = auto()
    #: As BUSY, but paused.
    PAUSED = auto()


class ContainerLifetime:
    """The container of one phase.

    Args:
        work: The phase.
        spec: What the container is created with.
        take_over: Called with the container of the phase before, if the phase continues in it.

    Attributes:
        id: The id of the container, "" if it doesn't exist yet.
        state: Its state.
        image: The id of the image that it is equal to, "" if it has changed since.
    """

    def __init__(self, work: PhaseContext, spec: ContainerSpec, take_over: Callable[[ReusableContainer], None]) -> None:
        self._work = work
        self._spec = spec
        self._take_over = take_over
        self._base_size = spec.image.size
        self.id = ""
        self.state = State.NONE
        self.image = spec.image.id

    def open(self) -> str:
        """Return the id of the container, which is reused or created when this is first called."""
        if self.state is State.NONE and not self._reuse():
            self.id = self._work.maker.make(self._spec.create)
            self.state = State.CREATED
        return self.id

    def _reuse(self) -> bool:
        """Reuse the container of the phase before, if there is one and it fits. Return whether it is reused."""
        container = self._work.pool.take()
        if container is None:
            return False
        if not self._spec.is_met_by(container):
            self._work.pool.spend(container.id)
            return False
        self.id = container.id
        self.state = State.IDLE if container.running else State.CREATED
        self._base_size = container.base_size
        self._spec.env.of_container = container.env
        self._take_over(container)
        return True

    def start(self) -> bool:
        """Start the container unless it runs. Return whether it was started now."""
        container = self.open()
        if self.state is not State.CREATED:
            return False
        self._spec.check_binds()
        self._work.engine.start(container)
        self._spec.check_binds()
        self.state = State.IDLE
        return True

    def change(self) -> None:
        """Record that the container is no longer equal to an image."""
        self.image = ""

    def begin_command(self, *, leaves_nothing: bool) -> None:
        """Record that a command begins. leaves_nothing: whether it certainly leaves nothing running."""
        self.change()
        if not leaves_nothing:
            self.state = State.BUSY

    def end_command(self, *, left_nothing: bool) -> None:
        """Record that a command has ended. left_nothing: whether a check found that it left nothing running."""
        self.state = State.IDLE if left_nothing else State.BUSY

    def pause(self) -> bool:
        """Pause what a command has left running. Return whether that was necessary."""
        if self.state is not State.BUSY:
            return False
        self._work.engine.pause(self.id)
        self.state = State.PAUSED
        return True

    def unpause(self) -> None:
        """Let what was paused continue."""
        if self.state is State.PAUSED:
            self._work.engine.unpause(self.id)
            self.state = State.BUSY

    def commit(self, changes: Sequence[str]) -> str:
        """Commit the container, and pause it meanwhile if something in it can write. Return the id of the image."""
        container = self.open()
        self.image = self._work.engine.commit(container, changes, COMMENT, pause=self.state is State.BUSY)
        return self.image

    @property
    def is_reusable(self) -> bool:
        """Return whether the next phase can use the container in place of a new one."""
        return bool(self.image) and self.state in (State.CREATED, State.IDLE) and not self._spec.has_secrets

    def leave(self, of_editions: Mapping[str, tuple[str, bytes]], folders: FolderCache) -> None:
        """Leave the container to the next phase, with what is known of its files and folders."""
        self._work.pool.put(
            ReusableContainer(
                self.id,
                self.image,
                self._base_size,
                self._spec.env.of_container,
                self._spec.mounts,
                self.state is State.IDLE,
                of_editions,
                folders,
            )
        )

    def remove(self) -> None:
        """Remove the container, at once if it has secrets."""
        if self.state is State.NONE:
            return
        if self._spec.has_secrets:
            self._work.remover.remove(self.id)
        else:
            self._work.pool.spend(self.id)
