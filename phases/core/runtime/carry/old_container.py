"""Names the container that another one replaces, and keeps or removes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phases.core import command_form, events
from phases.core.errors import HabitatError
from phases.core.runtime.carry import carried
from phases.core.runtime.carry.tidy import remove_old
from phases.core.runtime.own_containers import (
    LABEL_CARRIED_AT,
    LABEL_RETIRES,
    aside_names,
    is_new,
    is_old,
    old_names,
)
from phases.core.runtime.persistence import unkept
from phases.core.runtime.persistence.collect import collect_replaced_files
from phases.core.runtime.session.presence import Presence
from phases.core.runtime.stop import describe_users, stop_container

if TYPE_CHECKING:
    from collections.abc import Iterator

    from phases.core.engine.types import Container
    from phases.core.model import Habitat
    from phases.core.project import Project


def finish(project: Project, name: str, old: Container, other: str, new: Container, reason: str) -> None:
    """Remove an old container without work, or stop another one and say where it is.

    Args:
        project: The project.
        name: The name of the habitat.
        old: The container as it was.
        other: Its name now, as `rename` has given it.
        new: The container in its place, as it was.
        reason: Why it was replaced, "" if a person asked for that.
    """
    if not is_old(other):
        _report_aside(project, name, old, other, reason)
        return
    remove_old(project, name, old)
    if not _takes_files(new):
        text = f"the container that was {old.name} before is removed: nothing has changed in it since its image"
        project.bus.emit(events.Notice(name, text))


def _takes_files(new: Container) -> bool:
    """Return whether a container, which has its first name yet, has the files of the one that it is to replace."""
    return is_new(new.name) and bool(new.labels.get(LABEL_CARRIED_AT))


def rename(project: Project, habitat: Habitat, old: Container, new: Container) -> str:
    """Rename the old container, since it may contain somebody's work. Return its new name."""
    if not _takes_files(new):
        collect_replaced_files(project, habitat.name, old)
    if _takes_files(new) or _is_dispensable(project, habitat, old, new):
        names = old_names(old.name)
    else:
        names = aside_names(old.name, retired=_retires(new))
    other = _free(project, names)
    project.engine.rename(old.id, other)
    return other


def _retires(new: Container) -> bool:
    return is_new(new.name) and new.labels.get(LABEL_RETIRES) == "yes"


def _is_dispensable(project: Project, habitat: Habitat, old: Container, new: Container) -> bool:
    """Return whether a container has nothing that its image and its volumes don't have. One that runs may be in use."""
    if old.running or _retires(new) or carried.image_volumes(old):
        return False
    try:
        return not unkept.own_changes(project, habitat, old)
    except HabitatError:
        return False


def _free(project: Project, names: Iterator[str]) -> str:
    return next(name for name in names if not project.engine.container(name))


def _report_aside(project: Project, name: str, old: Container, aside: str, reason: str) -> None:
    """Stop the old container unless somebody uses it, and say where it is."""
    presence = Presence(project.state_folder(name))
    since = f", since {reason}" if reason else ""
    text = f"the container that was {old.name} before is kept as {aside}{since}"
    if old.running and describe_users(project, presence, old):
        text += ", and is still in use"
    else:
        stop_container(project, old)
        shell, restore = command_form.verb("shell", name, "--aside"), command_form.verb("restore", name)
        text += f": `{shell}` opens a shell in it, `{restore}` makes it the habitat's again, "
        text += f"`{command_form.verb('prune', name)}` removes such containers, after asking"
    presence.forget(old.id)
    project.bus.emit(events.Notice(name, text))
