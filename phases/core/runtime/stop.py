"""Stops a habitat's container: on request, or when its last session leaves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phases.core import command_form, events
from phases.core.errors import Conflict, NotFound
from phases.core.runtime import own_containers
from phases.core.runtime.new_container import is_gated
from phases.core.runtime.own_containers import container_name, own_container
from phases.core.runtime.persistence.collect import collect_replaced_files
from phases.core.runtime.persistence.volumes import persistence_of
from phases.core.runtime.session.presence import Presence

if TYPE_CHECKING:
    from phases.core.engine.locks import EngineLock
    from phases.core.engine.types import Container
    from phases.core.project import Project

#: Seconds to wait for another clone's run that is about to enter or stop the container.
LOCK_TIMEOUT = 20


def stop(project: Project, name: str, *, force: bool = False) -> None:
    """Stop the habitat's containers, those set aside as well. It is no error if none runs.

    Args:
        project: The project.
        name: The name of the habitat.
        force: Whether to stop those that are in use, too.

    Raises:
        Conflict: A container is in use. The others are stopped.
    """
    presence = Presence(project.state_folder(name))
    texts: list[str] = []
    used: list[str] = []
    with presence.alone():
        for container in _running(project, name):
            users = describe_users(project, presence, container)
            if users and not force:
                used.append(f"{container.name} stays running: it is in use by {users}")
                continue
            collect_replaced_files(project, name, container)
            stop_container(project, container)
            presence.forget(container.id)
            project.bus.emit(events.ContainerStopped(name, container.name))
            texts.append(f"{container.name} is stopped" + (f"; it was in use by {users}" if users else ""))
    for text in texts or ([] if used else [f"{container_name(project.names.of(name))} isn't running"]):
        project.bus.emit(events.Notice(name, text))
    if used:
        raise Conflict("; ".join(used), remedy=f"`{command_form.verb('stop', name)} --force` stops it anyway")


def stop_container(project: Project, container: Container) -> None:
    """Stop a container of a habitat, and its gate. It is no error if it doesn't run."""
    if not is_gated(container):
        project.engine.stop(container.id)
        return
    from concurrent.futures import ThreadPoolExecutor  # imported late: many habitats have no allowlist

    from phases.core.network import gate

    with ThreadPoolExecutor(1) as pool:  # the gate goes meanwhile
        closing = pool.submit(gate.close, project, container)
        project.engine.stop(container.id)
        closing.result()


def _running(project: Project, name: str) -> list[Container]:
    """Return the habitat's containers that run: its own, and then those that were set aside while in use."""
    own = own_container(project, name)
    others = [row for row in own_containers.containers(project, name) if own is None or row.id != own.id]
    others = [other for row in others if row.running and (other := project.engine.container(row.id))]
    return [container for container in (own, *others) if container and container.running]


def describe_users(project: Project, presence: Presence, container: Container) -> str:
    """Describe who uses a running container, "" for nobody. Call it inside `with presence.alone():`."""
    if sessions := presence.sessions(container.id):
        return f"{command_form.program()} with {', '.join(sessions)}"
    # Commands of `docker exec` have no session.
    count = project.engine.running_execs(container.id)
    return f"{count} other command{'s' if count > 1 else ''}" if count else ""


def container_lock(project: Project, name: str, container: Container, *, alone: bool) -> EngineLock:
    """Return the engine's lock on a container, since `Presence` sees the sessions of one clone only.

    Sessions of all clones share it. A run that stops the container takes it `alone`.
    """
    return project.locks.lock(f"in {container.id[:12]} {name}", exclusive=alone)


def stop_if_unused(project: Project, name: str, container: Container, *, own_execs: int, is_last: bool) -> bool:
    """Stop the habitat's container unless another session, or a command of somebody else, is in it.

    Args:
        project: The project.
        name: The name of the habitat.
        container: The container.
        own_execs: How many commands of the leaving session may still run in it.
        is_last: Whether no other session of this clone is in it.

    Returns:
        Whether it is stopped now, or removed.
    """
    engine = project.engine
    if persistence_of(container).files and engine.container(container.id) is None:
        return True  # it was removed
    collect_replaced_files(project, name, container)
    lock = container_lock(project, name, container, alone=True)
    try:
        # While this holds the lock, no session of another clone enters, and commands of those inside are counted.
        if is_last and lock.try_acquire(LOCK_TIMEOUT) and engine.running_execs(container.id) <= own_execs:
            stop_container(project, container)
            project.bus.emit(events.ContainerStopped(name, container.name))
            return True
    except NotFound:
        return True  # it was removed
    finally:
        lock.release()
    project.bus.emit(events.Notice(name, f"{container.name} stays running: another session is using it"))
    return False
