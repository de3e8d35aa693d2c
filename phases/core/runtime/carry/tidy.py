"""Finishes what a killed run has begun with a container that another one has replaced."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phases.core.errors import Conflict, NotFound
from phases.core.runtime import own_containers
from phases.core.runtime.carry import carried
from phases.core.runtime.new_container import ContainerChanged
from phases.core.runtime.own_containers import LABEL_REPLACES, aside_names, container_name, is_old, own_container
from phases.core.runtime.session.presence import Presence

if TYPE_CHECKING:
    from phases.core.engine.types import Container
    from phases.core.project import Project


def tidy(project: Project, name: str) -> None:
    """Remove the containers that were replaced by others with all that they have, or finish that they are not.

    A run was killed, if there are any, or another one is about to remove them. Call it inside `with presence.alone():`.
    """
    for row in own_containers.containers(project, name):
        if not is_old(row.name) or row.running:
            continue
        current = own_container(project, name)
        try:
            if current is None:
                project.engine.rename(row.id, container_name(project.names.of(name)))
            elif current.labels.get(LABEL_REPLACES) == row.id:
                remove_old(project, name, row)
            else:
                project.engine.rename(
                    row.id, next(one for one in aside_names(current.name) if not project.engine.container(one))
                )
        except (Conflict, NotFound) as error:
            raise ContainerChanged from error


def remove_old(project: Project, name: str, old: Container) -> None:
    """Remove a container that another one has replaced with all that it has."""
    carried.remove_container(project, old)
    Presence(project.state_folder(name)).forget(old.id)
    carried.sweep(project, name)
