"""Find and remove the containers, persistent volumes and images that no habitat has under its name of today.

Their habitat was removed or renamed, or it has another name on the engine since, because `project:` was added.

A habitat's name is all that most of its parts have, and another project on the same engine may have a habitat of that
name. So a name counts only if this project has built it, as `.stamps/NAME/` shows, or has started or built it, as the
labels of containers, volumes and images show, and if no container or volume of that name is another project's.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from phases.core import events
from phases.core.cache import image_labels
from phases.core.cache.project_identity import LABEL_ID, LABEL_PROJECT
from phases.core.cache.stamps import task_name
from phases.core.runtime import own_containers
from phases.core.runtime.destroy import destroy
from phases.core.runtime.own_containers import LABEL_RUN
from phases.core.runtime.persistence.volumes import persistent
from phases.registry import NAMES, named

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from phases.core.engine.types import Container, Image, Volume
    from phases.core.project import Project


@dataclass(frozen=True)
class Orphan:
    """The containers, volumes and images of a habitat that the project no longer has, or has under another name.

    Args:
        name: Its name in the project.
        engine_name: Its name on the engine when they were created.
        is_renamed: Whether today's commands use another name there, so that they don't find these.
        containers: The names of its containers.
        running: The names of those that run.
        volumes: The names of its persistent volumes.
        images: How many images it has.
    """

    name: str
    engine_name: str
    is_renamed: bool
    containers: Sequence[str]
    running: Sequence[str]
    volumes: Sequence[str]
    images: int


def orphans(project: Project) -> list[Orphan]:
    """Return the orphans, sorted by name on the engine. Sends two requests, and one more for each name."""
    containers: dict[str, list[Container]] = {}
    for container in own_containers.containers(project):
        containers.setdefault(container.labels[LABEL_RUN], []).append(container)
    volumes = project.engine.volumes(label=image_labels.LABEL_NAME)
    images = [image for image in project.image_index.all() if _is_ours(project, image.labels)]
    labels = [*(volume.labels for volume in volumes), *(image.labels for image in images)]
    removed = {project.names.of(name): name for name in project.habitats.removed}
    names = {*containers, *removed, *(each.get(image_labels.LABEL_NAME, "") for each in labels)}
    names -= {"", *(project.names.of(name) for name in project.habitats.names)}
    rows = (
        _orphan(project, removed.get(name, ""), name, containers.get(name, []), persistent(volumes, name))
        for name in sorted(names)
    )
    return [row for row in rows if row]


def _orphan(
    project: Project, removed: str, name: str, containers: Sequence[Container], volumes: Sequence[Volume]
) -> Orphan | None:
    """Return an orphan. removed: the habitat, if its state is left; name: its name on the engine."""
    labels = [*(container.labels for container in containers), *(volume.labels for volume in volumes)]
    ours = [_is_ours(project, each) for each in labels]
    if any(each.get(LABEL_PROJECT) and not is_ours for each, is_ours in zip(labels, ours, strict=True)):
        return None
    habitat = removed or project.names.habitat(name, (*project.habitats.names, *project.habitats.removed))
    images = [image for image in project.image_index.all() if _is_image(project, habitat, name, image)]
    if not (any(ours) or removed or images) or not (containers or volumes or images):
        return None
    return Orphan(
        habitat,
        name,
        project.names.of(habitat) != name,
        sorted(container.name for container in containers),
        sorted(container.name for container in containers if container.running),
        [volume.name for volume in volumes],
        len(images),
    )


def _is_ours(project: Project, labels: Mapping[str, str]) -> bool:
    """Return whether labels are of this project, in its folder of today or in one that it was moved from.

    A copy of the project with its state has the same id, and its own folder.
    """
    folder = labels.get(LABEL_PROJECT, "")
    if folder == project.identity.folder:
        return not project.identity.is_foreign(labels)
    own = project.identity.id
    return bool(own and folder) and labels.get(LABEL_ID) == own and not os.path.lexists(folder)


def _is_image(project: Project, habitat: str, name: str, image: Image) -> bool:
    """Return whether an image is a snapshot that this project has built of a habitat.

    Its labels or the stamp of its phase say so. An image that a person made from it has the same
    labels, and another tag.
    """
    phase_name = image.labels.get(image_labels.LABEL_PHASE, "")
    if image.labels.get(image_labels.LABEL_NAME) != name or phase_name not in NAMES:
        return False
    if image.tags:
        repository = f"{image_labels.repository(name)}:"
        if not any(tag.startswith(repository) for tag in image.tags):
            return False
        if _is_ours(project, image.labels):
            return True
    phase = named(phase_name)
    values = project.stamps.read(task_name(phase, habitat)).get("_values_:") or {}
    digest = image.labels.get(image_labels.hash_label(phase))
    return bool(digest) and values.get("hash") == digest


def destroy_earlier(project: Project, name: str, confirm: Callable[[str], bool], *, workspace: bool = False) -> bool:
    """List the containers and volumes of earlier names, ask for each name, and remove them with the images.

    Args:
        project: The project, in whose run nothing else uses the habitat.
        name: The name of the habitat.
        confirm: Asks the person a question and returns the answer.
        workspace: Whether to remove the workspaces, and to keep the persistent volumes.

    Returns:
        Whether everything is gone.
    """
    today = project.names.of(name)
    earlier = [row.engine_name for row in orphans(project) if row.name == name and row.is_renamed]
    if not earlier:
        project.bus.emit(events.Notice(name, f"{name} has nothing under an earlier name: nothing to remove"))
    try:
        for engine_name in earlier:
            project.names.use(name, engine_name)
            if not destroy(project, name, confirm, workspace=workspace, with_images=True):
                return False
    finally:
        project.names.use(name, today)
    return True
