"""Brings workspaces up to date before a start. That is little if they come from the container's image."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from phases.core.errors import NotFound
from phases.core.runtime.persistence.volumes import workspaces_of
from phases.core.runtime.workspace import record

if TYPE_CHECKING:
    from phases.core.engine.types import Container
    from phases.core.model import Habitat
    from phases.core.project import Project


def bring_up_to_date(project: Project, habitat: Habitat, container: Container, *, is_first: bool) -> None:
    """Let the workspaces of a container follow its image, if they come from another one. Call it before the start.

    is_first: whether the container was just created.
    """
    if record.is_behind(project.state_folder(habitat.name), workspaces_of(container)):
        from phases.core.runtime.workspace import follow  # imported late: only a rebuild changes the image

        follow.follow_image(project, habitat, container, is_first=is_first)
    _hold(project, habitat, container)


def _hold(project: Project, habitat: Habitat, container: Container) -> None:
    """Keep the image that the workspaces come from for the next comparison, if the container is of another one.

    That is a carried image, which has the same layers, but doesn't keep the other one.
    """
    image, tag = workspaces_of(container).image, record.tag(project, habitat.name)
    held = project.image_index.listed_id(tag)
    if image not in ("", container.image, held):
        with suppress(NotFound):  # it is gone: files that differ stay at the next rebuild
            project.engine.tag(image, tag)
    elif held and held != image:
        project.engine.untag(tag)


def remind_of_drift(project: Project, habitat: Habitat, container: Container) -> None:
    """Say which repositories of a container don't follow its image, if there were some. Call it after the start."""
    if workspaces_of(container).entries and record.read(project.state_folder(habitat.name)).drift:
        from phases.core.runtime.workspace import clones  # imported late: few habitats have such repositories

        clones.remind(project, habitat, container)
