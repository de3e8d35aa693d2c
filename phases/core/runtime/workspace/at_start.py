"""What a start does about workspaces: little, as long as they come from the container's image."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phases.core.runtime.persistence.volumes import workspaces_of
from phases.core.runtime.workspace import record

if TYPE_CHECKING:
    from phases.core.engine.types import Container
    from phases.core.model import Habitat
    from phases.core.project import Project


def bring_up_to_date(project: Project, habitat: Habitat, container: Container) -> None:
    """Let the workspaces of a container follow its image, if they come from another one. Call it before the start."""
    if record.is_behind(project.state_folder(habitat.name), workspaces_of(container)):
        from phases.core.runtime.workspace import follow  # imported late: only a rebuild changes the image

        follow.follow_image(project, habitat, container)


def remind_of_drift(project: Project, habitat: Habitat, container: Container) -> None:
    """Say which repositories of a container don't follow its image, if there were some. Call it after the start."""
    if workspaces_of(container).entries and record.read(project.state_folder(habitat.name)).drift:
        from phases.core.runtime.workspace import clones  # imported late: few habitats have such repositories

        clones.remind(project, habitat, container)
