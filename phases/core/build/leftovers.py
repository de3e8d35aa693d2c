"""Removes what a killed run has left of a habitat."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phases.core.files import atomic, temporary_folder
from phases.core.secrets import ssh_agent

if TYPE_CHECKING:
    from phases.core.project import Project


def remove_build_containers(project: Project, name: str) -> None:
    """Remove the build containers of a habitat, and its images without a tag."""
    for container in project.temporary_containers.builds(name):
        project.engine.remove(container.id)
    project.store.sweep(name)


def remove_leftovers(project: Project, name: str) -> None:
    """Remove all that a killed run has left of a habitat, on the engine and below .stamps/.

    The caller has just taken the build lock. Build containers are found by their names, which are the same for every
    run in a folder of this path.
    """
    remove_build_containers(project, name)
    folder = project.state_folder(name)
    temporary_folder.sweep(folder)
    atomic.sweep_state(folder)
    ssh_agent.sweep(folder)
    project.assessments.forget(name)  # from the images that were just listed
