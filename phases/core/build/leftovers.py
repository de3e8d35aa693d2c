"""Removes what a killed run has left of a habitat."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from phases.core.files import atomic, temporary_folder
from phases.core.secrets import ssh_agent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

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


def clear_at_end(project: Project, names: Iterable[str], check_lock: Callable[[str], bool]) -> None:
    """Remove the build containers of habitats in parallel, since the engine takes a while for each.

    check_lock: raises an exception if the lock of a habitat was lost, so that the containers are another run's.
    """
    if not (names := list(names)):
        return
    from concurrent.futures import ThreadPoolExecutor

    def clear(name: str) -> None:
        check_lock(name)
        remove_build_containers(project, name)

    with ThreadPoolExecutor(len(names)) as pool:
        list(pool.map(lambda name: project.cleanups.attempt(name, partial(clear, name)), names))
