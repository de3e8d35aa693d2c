"""Find the containers, persistent volumes and images of habitats that were removed or renamed.

A habitat's name is all that most of its parts have, and another project on the same engine may have a habitat of that
name. So a name counts only if this project has built it, as `.stamps/NAME/` shows, or has started it, as the label
`habitat.project` of a container or a volume shows, and if no container or volume of that name is another project's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from phases.core.cache import image_labels
from phases.core.cache.project_identity import LABEL_PROJECT
from phases.core.cache.stamps import task_name
from phases.core.runtime import own_containers
from phases.core.runtime.own_containers import LABEL_RUN
from phases.core.runtime.persistence.volumes import LABEL_PERSIST, persistent
from phases.registry import NAMES, named

if TYPE_CHECKING:
    from collections.abc import Sequence

    from phases.core.engine.types import Container, Image, Volume
    from phases.core.project import Project


@dataclass(frozen=True)
class Orphan:
    """The containers, volumes and images of a habitat that the project no longer has.

    Args:
        name: Its name in the project.
        containers: The names of its containers.
        running: The names of those that run.
        volumes: The names of its persistent volumes.
        images: How many images it has.
    """

    name: str
    containers: Sequence[str]
    running: Sequence[str]
    volumes: Sequence[str]
    images: int


def orphans(project: Project) -> list[Orphan]:
    """Return the orphans, sorted by name. Sends two requests, and one more for each name."""
    containers: dict[str, list[Container]] = {}
    for container in own_containers.containers(project):
        containers.setdefault(container.labels[LABEL_RUN], []).append(container)
    volumes = project.engine.volumes(label=LABEL_PERSIST)
    named_by = {*containers, *(volume.labels.get(image_labels.LABEL_NAME, "") for volume in volumes)}
    removed = {project.names.of(name): name for name in project.habitats.removed}
    names = {*named_by, *removed} - {"", *(project.names.of(name) for name in project.habitats.names)}
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
    projects = {of_one.get(LABEL_PROJECT, "") for of_one in labels}
    own = project.identity.folder
    if projects - {own, ""} or not (own in projects or removed):
        return None
    habitat = removed or project.names.habitat(name)
    if habitat in project.habitats.names:  # it has another name since: no command would find these
        return None
    images = [image for image in project.image_index.all() if _is_image(project, habitat, name, image)]
    if not (containers or volumes or images):
        return None
    return Orphan(
        habitat,
        sorted(container.name for container in containers),
        sorted(container.name for container in containers if container.running),
        [volume.name for volume in volumes],
        len(images),
    )


def _is_image(project: Project, habitat: str, name: str, image: Image) -> bool:
    """Return whether an image is a snapshot that this project has built of a habitat, by the stamp of its phase."""
    phase_name = image.labels.get(image_labels.LABEL_PHASE, "")
    if image.labels.get(image_labels.LABEL_NAME) != name or phase_name not in NAMES:
        return False
    phase = named(phase_name)
    values = project.stamps.read(task_name(phase, habitat)).get("_values_:") or {}
    digest = image.labels.get(image_labels.hash_label(phase))
    return bool(digest) and values.get("hash") == digest
