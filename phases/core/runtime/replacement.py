"""Replaces the container of a habitat that no longer matches its image or its config.

The new container runs under a name of its own until it is ready. Then the old one is set aside under another name, and
the new one takes the habitat's name. If the new one fails before that, it is removed, and the old one is as it was.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from msgspec.structs import replace

from phases.core import command_form, events
from phases.core.errors import Conflict, HabitatError, NotFound
from phases.core.runtime import own_containers
from phases.core.runtime.container_difference import difference
from phases.core.runtime.new_container import ContainerChanged
from phases.core.runtime.own_containers import aside_names, container_name, is_new, is_retired, own_container
from phases.core.runtime.persistence.collect import collect_replaced_files
from phases.core.runtime.session.presence import STOPPED, Presence
from phases.core.runtime.stop import describe_users

if TYPE_CHECKING:
    from phases.core.engine.types import Container
    from phases.core.model import Habitat
    from phases.core.project import Project

#: The label of a new container with the id of the one that it is to replace.
LABEL_REPLACES = "habitat.replaces"

#: The label of a new container that a person asked for: "yes" if no start is to use the one before again.
LABEL_RETIRES = "habitat.retires"


def announce(project: Project, habitat: Habitat, container: Container, reason: str) -> None:
    """Say that a container will be replaced, and what the new one will lack, before anything is done."""
    from phases.core.runtime.persistence import unkept  # imported late: most runs replace nothing

    work = unkept.describe(unkept.work_of(project, habitat, container), habitat.workdir)
    lacks = f"the new one will lack {work}; " if work else ""
    text = (
        f"{container.name} will be replaced by a new container, since {reason}: {lacks}"
        "once that is ready, the old one is kept under another name"
    )
    project.bus.emit(events.Notice(habitat.name, text))


def matching(project: Project, habitat: Habitat, image: str) -> Container | None:
    """Return the newest container beside the habitat's own that has the image and all settings of the config.

    A change has set it aside, not `start --new`, or a killed start left it. One of a killed start that doesn't match is
    removed.
    """
    rows, current = own_containers.containers(project, habitat.name), container_name(project.names.of(habitat.name))
    for row in sorted(rows, key=lambda row: row.name, reverse=True):
        container = project.engine.container(row.id) if row.name != current else None
        if container and not is_retired(container.name) and not difference(project, habitat, container, image):
            return container
        if container and is_new(container.name) and not container.running:
            project.engine.remove(container.id)
    return None


def make_way(project: Project, habitat: Habitat, old: Container) -> None:
    """Stop the container that is to be replaced, unless somebody uses it. Call it inside `with presence.alone():`.

    The new one may publish the same ports and use the same volumes.
    """
    presence = Presence(project.state_folder(habitat.name))
    if old.running and not describe_users(project, presence, old):
        from phases.core.runtime.session import secrets_over_restart  # imported late: most runs replace nothing

        secrets_over_restart.remember(project, old)
        presence.note(old.id, STOPPED)
        project.engine.stop(old.id)
    collect_replaced_files(project, habitat.name, old)


def give_up(project: Project, name: str, container_id: str = "") -> None:
    """Remove a new container that failed, and start the old one again if it was stopped for it.

    Nothing happens if the new one runs, since another session is in it. Call it inside `with presence.alone():`.

    Args:
        project: The project.
        name: The name of the habitat.
        container_id: The id of the new container, "" for those of all killed starts.
    """
    listed, current = own_containers.containers(project, name), container_name(project.names.of(name))
    others = [row for row in listed if row.name != current and container_id in ("", row.id)]
    for other in others:
        if is_new(other.name) and not other.running:
            project.engine.remove(other.id)
            Presence(project.state_folder(name)).forget(other.id)
    if not any(other.running for other in others):
        resume_old(project, name)


def resume_old(project: Project, name: str) -> None:
    """Start the habitat's container again, with its secrets, if it was stopped for one that failed."""
    presence = Presence(project.state_folder(name))
    old = own_container(project, name)
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
    """Set the habitat's old container aside, and give its name to the new one. Return the new one as it is then.

    Call it inside `with presence.alone():`.

    Raises:
        ContainerChanged: Another run has replaced the old container meanwhile.
    """
    engine, name = project.engine, container_name(project.names.of(habitat.name))
    old = own_container(project, habitat.name)
    if old and old.id == new.id:
        return old  # another session did it
    reason = difference(project, habitat, old, new.image) if old else ""
    if old and not reason and old.id != new.labels.get(LABEL_REPLACES):
        raise ContainerChanged
    try:
        aside = _rename_aside(project, habitat, old, retired=new.labels.get(LABEL_RETIRES) == "yes") if old else ""
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
        _report_aside(project, habitat.name, old, aside, reason)
    return replace(new, name=name)


def _rename_aside(project: Project, habitat: Habitat, old: Container, *, retired: bool) -> str:
    """Rename the old container, since it may contain somebody's work. Return its new name."""
    aside = next(name for name in aside_names(old.name, retired=retired) if not project.engine.container(name))
    collect_replaced_files(project, habitat.name, old)
    project.engine.rename(old.id, aside)
    return aside


def _report_aside(project: Project, name: str, old: Container, aside: str, reason: str) -> None:
    """Stop the old container unless somebody uses it, and say where it is."""
    presence = Presence(project.state_folder(name))
    since = f", since {reason}" if reason else ""
    text = f"the container that was {old.name} before is kept as {aside}{since}"
    if old.running and describe_users(project, presence, old):
        text += ", and is still in use"
    else:
        project.engine.stop(old.id)
        destroy = command_form.verb("destroy", name, "--set-aside")
        text += f": `{destroy}` removes such containers, after asking"
    presence.forget(old.id)
    project.bus.emit(events.Notice(name, text))
