"""What a build leaves behind when it is interrupted or killed. Only the holder of the build lock may remove it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phases.core.cache import slices
from phases.core.files import temporary_folder
from phases.core.secrets import ssh_agent

if TYPE_CHECKING:
    from phases.core.project import Project


def remove(project: Project, name: str) -> None:
    """Remove the build containers of a habitat, and its images without a tag."""
    for container in project.scratch.builds(name):
        project.engine.remove(container.id)
    project.store.sweep(name)


def remove_all(project: Project, name: str) -> None:
    """Remove all that a killed run has left of a habitat, on the engine and below .stamps/.

    The caller has just taken the build lock. Build containers are found by their names, which are the same for every
    run in a folder of this path.
    """
    remove(project, name)
    folder = project.state_folder(name)
    temporary_folder.sweep(folder)
    slices.sweep(folder)
    ssh_agent.sweep(folder)
    project.reassess(name)  # from the images that were just listed
