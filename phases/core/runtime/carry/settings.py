"""Settings of the config that a container doesn't have: what becomes of it, and limits that change in place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phases.core import command_form, events
from phases.core.errors import EngineError, EngineUnreachable
from phases.core.files.tar import Archive
from phases.core.runtime.carry.changes import unkept_changes
from phases.core.runtime.carry.difference import difference, limits_of
from phases.core.runtime.own_containers import LABEL_CARRIED
from phases.core.runtime.persistence.volumes import persistence_of

if TYPE_CHECKING:
    from phases.core.engine.types import Container
    from phases.core.model import Habitat
    from phases.core.project import Project
    from phases.core.runtime.carry.difference import ContainerDifference


def effect(project: Project, habitat: Habitat, container: Container, change: ContainerDifference) -> str:
    """Return what a start does about changed settings, "" if a new container has none of the old one's files.

    Raises:
        EngineError: The engine refuses to measure the container.
    """
    if change.image or not change:
        return ""
    if _is_in_place(habitat, container, change):
        return "the container gets that as it is"
    if unkept_changes(project.engine.changes(container.id), container, with_temporary=True):
        return f"the container is made again with its files, {_size(project.engine.changed_bytes(container.id))}"
    is_carried = bool(container.labels.get(LABEL_CARRIED))
    return f"the container is made again{' with its files' if is_carried else '; nothing has changed in it'}"


def image_of_restored(project: Project, habitat: Habitat, container: Container, image: str) -> str:
    """Return the image that a restored container is to have, its own, and say so if `image` is another one."""
    if difference(project, habitat, container, image).image:
        new = command_form.verb("start", habitat.name, "--new")
        text = f"{container.name} was restored, and has an older image: `{new}` makes a container of today's"
        project.bus.emit(events.Notice(habitat.name, text))
    return container.image


def set_limits(project: Project, habitat: Habitat, container: Container, change: ContainerDifference) -> bool:
    """Give a container the limits of the config, if nothing else differs and its engine can. Return whether it has."""
    if not _is_in_place(habitat, container, change):
        return False
    try:
        is_set = project.engine.set_limits(container.id, limits_of(habitat))
    except EngineUnreachable:
        raise
    except EngineError as error:  # its processes use more than that
        text = f"{change.reason}: it can't be set while {container.name} runs ({error.message})"
        project.bus.emit(events.Notice(habitat.name, text, warning=True))
        return False
    if is_set:
        text = f"{change.reason}: {container.name} has that from now on"
        project.bus.emit(events.Notice(habitat.name, text))
    return is_set


def _is_in_place(habitat: Habitat, container: Container, change: ContainerDifference) -> bool:
    is_possible = container.limits is not None and container.limits.can_become(limits_of(habitat))
    return change.is_of_limits and is_possible


def postpone(project: Project, habitat: Habitat, container: Container, change: ContainerDifference, users: str) -> None:
    """Say when a change takes effect of which the container is in use."""
    text = (
        f"{change.reason}: {container.name} is in use by {users}, so that takes effect at the first start after it has "
        "stopped"
    )
    project.bus.emit(events.Notice(habitat.name, text))


def keep_files(project: Project, old: Container, new: Container) -> None:
    """Give a new container the single files that persist no longer, in place of their links.

    old: The container that it takes over. Their content is on its volumes.
    """
    engine, persistent = project.engine, {entry.path for entry in persistence_of(new).entries}
    owner = persistence_of(old).owner
    for entry in persistence_of(old).files:
        stat = engine.stat(new.id, entry.resolved)
        if entry.path in persistent or (stat and stat.link != entry.file):
            continue
        info = engine.path_info(old.id, entry.file, content=True)
        if info and info.kind == "file":
            with Archive() as archive:
                archive.add(entry.resolved, "file", info.mode & 0o777, owner, content=info.content)
                engine.put_archive(new.id, "/", archive.finish())


def _size(count: int) -> str:
    """Return a number of bytes as a person reads it."""
    for unit, size in (("GB", 10**9), ("MB", 10**6)):
        if count >= size:
            number = count / size
            return f"{number:.1f} {unit}" if number < 10 else f"{number:.0f} {unit}"
    return "less than 1 MB"
