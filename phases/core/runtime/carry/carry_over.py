"""Gives a habitat's container other settings: in place, or by a new container with its files."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

from phases.core import events
from phases.core.errors import EngineError, HabitatError
from phases.core.runtime import replacement
from phases.core.runtime.carry import carried, settings
from phases.core.runtime.new_container import ContainerChanged
from phases.core.runtime.session.presence import Presence
from phases.core.runtime.stop import LOCK_TIMEOUT, container_lock, describe_users

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from phases.core.engine.types import Container, VolumeMount
    from phases.core.model import Habitat
    from phases.core.project import Project
    from phases.core.runtime.carry.difference import ContainerDifference


class _Create(Protocol):
    def __call__(
        self, image: str, old: Container | None, *, of_image: Sequence[VolumeMount], carries: bool
    ) -> tuple[Container, bool]: ...


class GiveSettings(Struct, frozen=True):
    """Gives a container other settings.

    Attributes:
        project: The project.
        habitat: The habitat.
        image: The id of the image of today's config.
        resume: Starts a container if it doesn't run. Returns it, and whether it was running.
        create: Creates and starts a container, see `container.create_and_start`.
    """

    project: Project
    habitat: Habitat
    image: str
    resume: Callable[[Container], tuple[Container, bool]]
    create: _Create

    def to(self, current: Container, change: ContainerDifference) -> tuple[Container, bool]:
        """Return the habitat's container with other settings: itself, or a new one with its files.

        One that somebody uses stays as it is.
        """
        project, habitat = self.project, self.habitat
        if settings.set_limits(project, habitat, current, change):
            return self.resume(current)
        again = replacement.matching(project, habitat, self.image, only_new=True)
        if again and again.running:
            return again, True
        presence = Presence(project.state_folder(habitat.name))
        users = describe_users(project, presence, current) if current.running else ""
        lock = container_lock(project, habitat.name, current, alone=True)
        if users or not lock.try_acquire(LOCK_TIMEOUT):
            settings.postpone(project, habitat, current, change, users or "another run")
            return self.resume(current)
        try:
            text = settings.effect(project, habitat, current, change)
            project.bus.emit(events.Notice(habitat.name, f"{change.reason}: {text}"))
            replacement.make_way(project, habitat, current)
            return self.resume(again) if again else self._carry(current)
        except (HabitatError, ContainerChanged):
            replacement.resume_old(project, habitat.name)
            with suppress(EngineError):
                carried.sweep(project, habitat.name)
            raise
        finally:
            lock.release()

    def _carry(self, old: Container) -> tuple[Container, bool]:
        """Create and start a container with the files of a stopped one."""
        stopped = self.project.engine.container(old.id)
        if stopped is None or stopped.running:
            raise ContainerChanged
        carried.sweep(self.project, self.habitat.name)
        image = carried.image_of(self.project, self.habitat.name, stopped, self.image)
        return self.create(image, stopped, of_image=carried.image_volumes(stopped), carries=True)
