"""Stops a habitat's container unless it is in use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phases.core import events
from phases.core.build.ownership import container_name
from phases.core.errors import Conflict
from phases.core.runtime.container import own_container
from phases.core.runtime.persistent_collect import collect_replaced_files

if TYPE_CHECKING:
    from phases.core.engine.protocol import Container
    from phases.core.project import Project
    from phases.core.runtime.presence import Presence


def stop(project: Project, name: str, *, force: bool = False) -> None:
    """Stop the habitat's container. It is no error if the container doesn't run.

    Args:
        project: The project.
        name: The name of the habitat.
        force: Whether to stop it even if it is in use.

    Raises:
        Conflict: The container is in use.
    """
    presence = project.presence(name)
    with presence.alone():
        container = own_container(project, name)
        if container is None or not container.running:
            text = f"{container_name(name)} isn't running"
        else:
            users = describe_users(project, presence, container)
            if users and not force:
                raise Conflict(
                    f"{container.name} stays running: it is in use by {users}",
                    remedy=f"doit stop:{name} --force stops it anyway",
                )
            collect_replaced_files(project, name, container)
            project.engine.stop(container.id)
            presence.forget(container.id)
            project.bus.emit(events.ContainerStopped(name, container.name))
            text = f"{container.name} is stopped" + (f"; it was in use by {users}" if users else "")
    project.bus.emit(events.Notice(name, text))


def describe_users(project: Project, presence: Presence, container: Container) -> str:
    """Describe who uses a running container, "" for nobody. Call it while `presence.alone`."""
    if sessions := presence.sessions(container.id):
        return f"doit with {', '.join(sessions)}"
    # Commands of `docker exec` have no session.
    count = project.engine.running_execs(container.id)
    return f"{count} other command{'s' if count > 1 else ''}" if count else ""
