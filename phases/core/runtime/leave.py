"""Stops a habitat's container when its last session leaves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phases.core import events
from phases.core.errors import NotFound
from phases.core.runtime.persistent_collect import collect_replaced_files
from phases.core.runtime.persistent_volumes import persistence_of

if TYPE_CHECKING:
    from phases.core.engine.locks import EngineLock
    from phases.core.engine.protocol import Container
    from phases.core.project import Project

# Seconds to wait for another clone's run that is about to enter or stop the container.
_LOCK_TIMEOUT = 20


def container_lock(project: Project, name: str, container: Container, *, alone: bool) -> EngineLock:
    """Return the engine's lock on a container, since `Presence` sees the sessions of one clone only.

    Sessions of all clones share it. A run that stops the container takes it `alone`.
    """
    return project.locks.lock(f"in {container.id[:12]} {name}", alone=alone)


def stop_if_unused(project: Project, name: str, container: Container, *, own_execs: int, is_last: bool) -> None:
    """Stop the habitat's container unless another session, or a command of somebody else, is in it.

    Args:
        project: The project.
        name: The name of the habitat.
        container: The container.
        own_execs: How many commands of the leaving session may still run in it.
        is_last: Whether no other session of this clone is in it.
    """
    engine = project.engine
    if persistence_of(container).files and engine.container(container.id) is None:
        return  # it was removed
    collect_replaced_files(project, name, container)
    lock = container_lock(project, name, container, alone=True)
    try:
        # While this holds the lock, no session of another clone enters, and commands of those inside are counted.
        if is_last and lock.take(_LOCK_TIMEOUT) and engine.running_execs(container.id) <= own_execs:
            engine.stop(container.id)
            project.bus.emit(events.ContainerStopped(name, container.name))
            return
    except NotFound:
        return  # it was removed
    finally:
        lock.release()
    project.bus.emit(events.Notice(name, f"{container.name} stays running: another session is using it"))
