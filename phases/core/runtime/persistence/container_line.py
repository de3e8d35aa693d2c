"""Describes a container that is to be removed: who uses it, the work in its repositories, and what else has changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from phases.core.errors import EngineError, HabitatError, NotFound
from phases.core.events.work import ContainerWork
from phases.core.runtime.carry.changes import changes_since_build
from phases.core.runtime.persistence.unkept import describe, work_in
from phases.core.runtime.session.presence import Presence
from phases.core.runtime.stop import describe_users

if TYPE_CHECKING:
    from collections.abc import Collection

    from phases.core.engine.types import Container
    from phases.core.project import Project
    from phases.core.runtime.carry.changes import UnkeptChanges


class ContainerLine(NamedTuple):
    """The line about a container, and the work in it as data."""

    text: str
    container: str
    work: ContainerWork


def container_line(project: Project, name: str, container: Container, removed: Collection[str]) -> ContainerLine:
    """Return the line about a container. removed: the names of the volumes that are to be removed with it."""
    state = "stopped"
    if container.running:
        presence = Presence(project.state_folder(name))
        with presence.alone():
            users = describe_users(project, presence, container)
        state = f"running, in use by {users}" if users else "running"
    work = ContainerWork()
    try:
        changes = changes_since_build(project.engine, container)
        text, work = _contents(project, name, container, changes, removed)
    except NotFound:
        text = "it was removed meanwhile"
    except EngineError as error:
        text = f"its changes can't be listed ({error.message})"
    return ContainerLine(f"{container.name} ({state}): {text}", container.name, work)


def _contents(
    project: Project, name: str, container: Container, changes: UnkeptChanges, removed: Collection[str]
) -> tuple[str, ContainerWork]:
    """Return the work in a container in words, what concerns repositories first, and as data."""
    try:
        habitat = project.habitat(name)
    except HabitatError:  # a broken config doesn't say where repositories are
        return changes.summary, ContainerWork(len(changes.changes) + changes.more)
    work, others = work_in(project, habitat, container, changes, removed)
    repositories = describe(ContainerWork(0, work.repositories, work.problem), habitat.workdir)
    parts = [repositories, others.summary if others or not repositories else ""]
    return "; ".join(filter(None, parts)), work
