"""Creates the container of a habitat with its volumes, filled from the image where they are new."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phases.core import events
from phases.core.cache import image_labels
from phases.core.config.mounts import workspaces
from phases.core.engine.types import ImageConfig, VolumeMount
from phases.core.errors import Conflict, LinkInTheWay
from phases.core.runtime.persistence import shared
from phases.core.runtime.persistence.fill import fill, set_owner
from phases.core.runtime.persistence.image_content import ImageContent
from phases.core.runtime.persistence.shared import SharedPaths
from phases.core.runtime.persistence.volumes import LABEL_PERSIST, LABEL_WORKSPACE, PersistentPath, volumes_of
from phases.core.runtime.workspace import places
from phases.core.runtime.workspace.fill import WorkspaceFilling

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from phases.core.engine.locks import EngineLock
    from phases.core.model import Habitat
    from phases.core.project import Project

    #: Creates a container with a name, and with labels and mounts beside its own. Returns its id.
    Create = Callable[[str, Mapping[str, str], Sequence[VolumeMount]], str]


def create_with_volumes(project: Project, habitat: Habitat, image_id: str, name: str, create: Create) -> str:
    """Create a container with the habitat's persistent volumes and workspaces. It isn't started.

    Args:
        project: The project.
        habitat: The habitat.
        image_id: The id of the image.
        name: The name of the container.
        create: Creates a container of the image.

    Returns:
        The id of the container.

    Raises:
        Conflict: Another run has created the container meanwhile.
    """
    if not habitat.entry.persist and not workspaces.candidates(habitat):
        # The labels are set all the same: an image that was committed from a container hands its own down.
        return create(name, {LABEL_PERSIST: "", LABEL_WORKSPACE: ""}, ())
    assumed = None if habitat.entry.persist else places.assumed(project, habitat)
    if assumed is not None:
        filling = WorkspaceFilling(project, habitat, image_id, assumed)
        if not filling.is_due and (container := _create_assumed(project, habitat, image_id, name, create, filling)):
            return container
    # If two runs filled the same volumes at once, the image's files could overwrite what a program has written.
    lock = project.locks.lock(f"start {project.names.of(habitat.name)}")
    shared_lock = project.locks.lock(f"start {shared.person()} shared") if shared.is_used(habitat) else None
    try:
        for one in filter(None, (lock, shared_lock)):
            one.acquire(lambda holder: _report_wait(project, habitat.name, holder), report_after=1.0)
        if project.engine.container(name):
            raise Conflict(f"container {name} exists by now")
        if assumed is not None:
            filling = WorkspaceFilling(project, habitat, image_id, assumed)  # another run may have filled some
            if container := _create_assumed(project, habitat, image_id, name, create, filling):
                return container
        return _create_filled(project, habitat, image_id, name, create, lock)
    finally:
        if shared_lock:
            shared_lock.release()
        lock.release()


def _report_wait(project: Project, habitat: str, holder: str) -> None:
    project.bus.emit(events.Notice(habitat, f"waiting for another run that creates its container ({holder})"))


def _create_assumed(
    project: Project, habitat: Habitat, image_id: str, name: str, create: Create, filling: WorkspaceFilling
) -> str:
    """Create the container with workspaces as the config has them. Return "" if its image needs others.

    It saves the creation of another container, in which to look before. What is created has its name at once: the
    engine fills volumes before it shows a container.
    """
    filling.begin()
    try:
        container = create(name, {LABEL_PERSIST: "", **filling.label}, filling.mounts)
    except LinkInTheWay:
        filling.abandon()
        return ""
    engine = project.engine
    try:
        image = engine.image_config(image_id) or ImageConfig(image_id)
        if places.in_container(project, habitat, container, image, notify=False) != filling.entries:
            engine.remove(container)
            filling.abandon()
            return ""
        filling.finish()
    except BaseException:
        engine.remove(container)
        raise
    return container


def _draft(project: Project, habitat: Habitat) -> str:
    return f"{project.temporary_containers.prefix('start', habitat.name)}draft"


def _create_filled(
    project: Project, habitat: Habitat, image_id: str, name: str, create: Create, lock: EngineLock
) -> str:
    engine = project.engine
    # A container's mounts are fixed when it is created. So another one, without them, shows what the image has.
    draft = _draft(project, habitat)
    engine.remove(draft)  # of a start that was killed
    without_volumes = create(draft, {}, ())
    try:
        config = engine.image_config(image_id) or ImageConfig(image_id)
        image = ImageContent(project, without_volumes, habitat, config.env) if habitat.entry.persist else None
        entries = places.in_container(project, habitat, without_volumes, config)
    finally:
        engine.remove(without_volumes)
    filling = WorkspaceFilling(project, habitat, image_id, entries)
    filling.begin()
    labels = {LABEL_PERSIST: image.persistence.label if image else "", **filling.label}
    volumes = _PersistentVolumes(project, habitat, image.persistence.entries) if image else None
    container = create(draft, labels, [*filling.mounts, *(volumes.mounts if volumes else ())])
    try:
        if image and volumes:
            volumes.shared.take_over(image_id, container)
            fill(project, habitat.name, container, image, filling.kept)
            set_owner(project, habitat.name, image_id, image, container)
        filling.finish()
        lock.check()
        engine.rename(container, name)
    except BaseException:
        engine.remove(container)
        raise
    return container


class _PersistentVolumes:
    """The volumes of the persistent paths of a new container. Only a new one gets the image's files.

    So one that was emptied stays empty.
    """

    def __init__(self, project: Project, habitat: Habitat, entries: Sequence[PersistentPath]) -> None:
        self._labels = {image_labels.LABEL_NAME: project.names.of(habitat.name), **project.identity.labels}
        self._existing = {volume.name for volume in volumes_of(project, habitat.name)}
        self.shared = SharedPaths(project, habitat, entries, self._existing)
        self.mounts = [self.shared.mount(one) if one.shared else self._mount(one) for one in entries]

    def _mount(self, entry: PersistentPath) -> VolumeMount:
        labels = {**self._labels, LABEL_PERSIST: entry.path}
        return VolumeMount(entry.volume, entry.mount_point, labels, copies=entry.volume not in self._existing)
