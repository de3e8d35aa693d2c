"""Stops a habitat's container, unless somebody is in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phases.core import events
from phases.core.build.ownership import container_name
from phases.core.errors import Conflict
from phases.core.runtime import persistent_volumes
from phases.core.runtime.container import own_container

if TYPE_CHECKING:
    from phases.core.engine.protocol import Container
    from phases.core.project import Project
    from phases.core.runtime.presence import Presence


def stop(project: Project, name: str, *, force: bool = False) -> None:
    """Stop the habitat's container; no error where it doesn't run. force: also under whoever is in it.
    Raises Conflict when somebody is, else.
    """
    presence = project.presence(name)
    with presence.alone():
        container = own_container(project, name)
        if container is None or not container.running:
            text = f"{container_name(name)} isn't running"
        else:
            there = who_is_in(project, presence, container)
            if there and not force:
                raise Conflict(
                    f"{container.name} goes on: in it is {there}",
                    remedy=f"doit stop:{name} --force stops it all the same",
                )
            persistent_volumes.collect_replaced_files(project, name, container)
            project.engine.stop(container.id)
            presence.forget(container.id)
            project.bus.emit(events.ContainerStopped(name, container.name))
            text = f"{container.name} is stopped" + (f"; in it was {there}" if there else "")
    project.bus.emit(events.Notice(name, text))


def who_is_in(project: Project, presence: Presence, container: Container) -> str:
    """Who is in a running container, "" when nobody is. To be asked while `presence.alone`."""
    if sessions := presence.sessions(container.id):
        return f"doit with {', '.join(sessions)}"
    # Who came by `docker exec` is in none of our files.
    count = project.engine.running_execs(container.id)
    return f"{count} command{'s' if count > 1 else ''} of somebody else" if count else ""
