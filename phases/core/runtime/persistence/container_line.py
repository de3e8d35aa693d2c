"""Describes a container that is to be removed: who uses it, the work in its repositories, and what else has changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from phases.core.errors import EngineError, HabitatError, NotFound, printable
from phases.core.events.work import ContainerWork
from phases.core.runtime.persistence.unkept import describe, unkept_changes, work_in
from phases.core.runtime.session.presence import Presence
from phases.core.runtime.stop import describe_users

if TYPE_CHECKING:
    from collections.abc import Sequence

    from phases.core.engine.types import Change, Container
    from phases.core.project import Project

_SHOWN_PATHS = 5


class ContainerLine(NamedTuple):
    """The line about a container, and the work in it as data."""

    text: str
    container: str
    work: ContainerWork


def container_line(project: Project, name: str, container: Container, *, on_volumes: bool) -> ContainerLine:
    """Return the line about a container. on_volumes: whether its volumes are to be removed, too."""
    state = "stopped"
    if container.running:
        presence = Presence(project.state_folder(name))
        with presence.alone():
            users = describe_users(project, presence, container)
        state = f"running, in use by {users}" if users else "running"
    work = ContainerWork()
    try:
        changes = unkept_changes(project.engine.changes(container.id), container)
        text, work = _contents(project, name, container, changes, on_volumes=on_volumes)
    except NotFound:
        text = "it was removed meanwhile"
    except EngineError as error:
        text = f"its changes can't be listed ({error.message})"
    return ContainerLine(f"{container.name} ({state}): {text}", container.name, work)


def _contents(
    project: Project, name: str, container: Container, changes: Sequence[Change], *, on_volumes: bool
) -> tuple[str, ContainerWork]:
    """Return the work in a container in words, what concerns repositories first, and as data."""
    try:
        habitat = project.habitat(name)
    except HabitatError:  # a broken config doesn't say where repositories are
        return _summary(changes), ContainerWork(len(changes))
    work, others = work_in(project, habitat, container, changes, on_volumes=on_volumes)
    repositories = describe(ContainerWork(0, work.repositories, work.problem), habitat.workdir)
    parts = [repositories, _summary(others) if others or not repositories else ""]
    return "; ".join(filter(None, parts)), work


def _summary(changes: Sequence[Change]) -> str:
    if not changes:
        return "nothing has changed in it since its image"
    kinds = [change.kind for change in changes]
    counts = ", ".join(f"{kinds.count(kind)} {kind}" for kind in ("added", "changed", "deleted") if kind in kinds)
    paths = ", ".join(printable(change.path) for change in changes[:_SHOWN_PATHS])
    return f"{counts}: {paths}" + (", …" if len(changes) > _SHOWN_PATHS else "")
