"""Replaces the container of a habitat that no longer matches its image or its config.

The new container runs under a name of its own until it is ready. Then the old one gets another name, and the new one
the habitat's. The old one is set aside under that name if it has work that the new one lacks; otherwise it is removed.
If the new one fails before that, it is removed, and the old one is as it was.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from msgspec.structs import replace

from phases.core import events
from phases.core.errors import Conflict, HabitatError, NotFound
from phases.core.runtime import own_containers
from phases.core.runtime.carry.difference import difference
from phases.core.runtime.new_container import ContainerChanged
from phases.core.runtime.own_containers import (
    LABEL_CARRIED_AT,
    LABEL_REPLACES,
    container_name,
    is_new,
    is_old,
    is_retired,
    own_container,
)
from phases.core.runtime.persistence.collect import collect_replaced_files
from phases.core.runtime.session.presence import REPLACED, STOPPED, Presence
from phases.core.runtime.stop import describe_users, stop_container
from phases.core.runtime.workspace import record

if TYPE_CHECKING:
    from phases.core.engine.types import Container
    from phases.core.model import Habitat
    from phases.core.project import Project


def announce(project: Project, habitat: Habitat, container: Container, reason: str) -> None:
    """Say that a container will be replaced, and what the new one will lack, before anything is done."""
    from phases.core.runtime.persistence import unkept  # imported late: most runs replace nothing

    work = unkept.describe(unkept.work_of(project, habitat, container), habitat.workdir)
    lacks = f"the new one will lack {work}; " if work else ""
    text = (
        f"{container.name} will be replaced by a new container, since {reason}: {lacks}"
        "once that is ready, the old one is kept under another name if it has changes"
    )
    project.bus.emit(events.Notice(habitat.name, text))


def current_container(project: Project, name: str) -> Container | None:
    """Return the habitat's container, None if there is none, once it is removed what a killed run has left beside it.

    Call it inside `with presence.alone():`.
    """
    current = own_container(project, name)
    if current is None:
        from phases.core.runtime.carry.tidy import tidy

        tidy(project, name)
        current = own_container(project, name)
    if current is None:
        return None
    presence, replaced = Presence(project.state_folder(name)), current.labels.get(LABEL_REPLACES)
    if presence.drop_note(current.id, REPLACED) or (replaced and presence.drop_note(replaced, REPLACED)):
        give_up(project, name)
        return own_container(project, name)
    return current


def matching(project: Project, habitat: Habitat, image: str, *, only_new: bool = False) -> Container | None:
    """Return the newest container beside the habitat's own that has the image and all settings of the config.

    A change has set it aside, not `start --new`, or a killed start left it. The first is told. One of a killed start
    that doesn't match is removed.

    only_new: Whether it has to be one of a killed start, or of one that another run is about to finish.
    """
    from phases.core.runtime.carry import carried  # imported late: most starts replace nothing

    current = own_container(project, habitat.name)
    rows = [row for row in own_containers.containers(project, habitat.name) if not (current and row.id == current.id)]
    for row in sorted(rows, key=lambda row: row.name, reverse=True):
        if is_retired(row.name) or is_old(row.name) or (only_new and not is_new(row.name)):
            continue
        container = project.engine.container(row.id)
        if container and _can_follow(current, container) and not difference(project, habitat, container, image):
            if not is_new(container.name):
                text = f"{container.name} was set aside, and matches the image and the config: it is used again"
                project.bus.emit(events.Notice(habitat.name, text))
            return container
        if container and is_new(container.name) and not container.running:
            carried.remove_container(project, container)
    return None


def _can_follow(old: Container | None, new: Container) -> bool:
    """Return whether a container may take the place of the habitat's: not if it has files that were changed since."""
    if not is_new(new.name) or not (carried_at := new.labels.get(LABEL_CARRIED_AT)):
        return True
    if old is None or old.id != new.labels.get(LABEL_REPLACES):
        return False
    return not old.running and carried_at == str(old.since)


def make_way(project: Project, habitat: Habitat, old: Container) -> None:
    """Stop the container that is to be replaced, unless somebody uses it. Call it inside `with presence.alone():`.

    The new one may publish the same ports and use the same volumes.
    """
    presence = Presence(project.state_folder(habitat.name))
    presence.note(old.id, REPLACED)
    if old.running and not describe_users(project, presence, old):
        from phases.core.runtime.session import secrets_over_restart  # imported late: most runs replace nothing

        secrets_over_restart.remember(project, old)
        presence.note(old.id, STOPPED)
        stop_container(project, old)
    collect_replaced_files(project, habitat.name, old)


def give_up(project: Project, name: str, container_id: str = "") -> None:
    """Remove a new container that failed, and start the old one again if it was stopped for it.

    Nothing happens if the new one runs, since another session is in it. Call it inside `with presence.alone():`.

    Args:
        project: The project.
        name: The name of the habitat.
        container_id: The id of the new container, "" for those of all killed starts.
    """
    from phases.core.runtime.carry import carried, tidy

    tidy.tidy(project, name)
    listed, current = own_containers.containers(project, name), container_name(project.names.of(name))
    others = [row for row in listed if row.name != current and container_id in ("", row.id)]
    for other in others:
        if is_new(other.name) and not other.running:
            carried.remove_container(project, other)
            Presence(project.state_folder(name)).forget(other.id)
    carried.sweep(project, name)
    for helper in record.helpers(project, name):
        project.engine.remove(helper)
    if not any(other.running for other in others):
        resume_old(project, name)


def resume_old(project: Project, name: str) -> None:
    """Start the habitat's container again, with its secrets, if it was stopped for one that failed."""
    presence = Presence(project.state_folder(name))
    old = own_container(project, name)
    if old:
        presence.drop_note(old.id, REPLACED)
    if old and not old.running and presence.drop_note(old.id, STOPPED):
        from phases.core.runtime.session import secrets_over_restart

        problem = "can't be started again"
        try:
            project.engine.start(old.id)
            problem = "runs again without its secrets"
            secrets_over_restart.give_back(project, name, old)
        except HabitatError as error:  # another error says why the start failed
            text = f"{old.name} ran before, and {problem} ({error})"
            project.bus.emit(events.Notice(name, text, warning=True))


def put_in_place(project: Project, habitat: Habitat, new: Container) -> Container:
    """Give the name of the habitat's old container to the new one. Return the new one as it is then.

    The old one is set aside, or removed if it has nothing that the new one lacks. Call it inside
    `with presence.alone():`.

    Raises:
        ContainerChanged: Another run has replaced the old container meanwhile, or worked in it.
    """
    from phases.core.runtime.carry import old_container  # imported late: most starts replace nothing

    engine, name = project.engine, container_name(project.names.of(habitat.name))
    old = own_container(project, habitat.name)
    if old and old.id == new.id:
        return old  # another session did it
    reason = difference(project, habitat, old, new.image).reason if old else ""
    if not _can_follow(old, new) or (old and not reason and old.id != new.labels.get(LABEL_REPLACES)):
        raise ContainerChanged
    try:
        other = old_container.rename(project, habitat, old, new) if old else ""
        try:
            engine.rename(new.id, name)
        except HabitatError:
            if old:
                with suppress(Conflict):  # another run has put its own in place
                    engine.rename(old.id, name)
            raise
    except (Conflict, NotFound) as error:
        raise ContainerChanged from error
    if old:
        old_container.finish(project, habitat.name, old, other, new, reason)
    return replace(new, name=name)
