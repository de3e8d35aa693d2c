"""Containers that were set aside: opening a shell in one, and making one the habitat's again."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from phases.core import command_form, events
from phases.core.errors import Conflict, HabitatError, StartError
from phases.core.runtime import own_containers, replacement
from phases.core.runtime.carry import carried, restored
from phases.core.runtime.carry.changes import changes_since_build
from phases.core.runtime.carry.tidy import remove_old
from phases.core.runtime.container import start_if_stopped
from phases.core.runtime.own_containers import aside_names, container_name, is_new, is_old, old_names
from phases.core.runtime.persistence.collect import collect_replaced_files
from phases.core.runtime.session.attach import SHELL, run_shell
from phases.core.runtime.session.open import open_session
from phases.core.runtime.session.presence import Presence
from phases.core.runtime.stop import describe_users, stop_container

if TYPE_CHECKING:
    from phases.core.engine.types import Container
    from phases.core.model import Habitat
    from phases.core.project import Project
    from phases.core.runtime.session.attach import Terminal


def shell(project: Project, name: str, terminal: Terminal, number: int) -> int:
    """Run a shell in a container that was set aside, which stays so. Returns its exit code.

    Args:
        project: The project.
        name: The name of the habitat.
        terminal: Where the input comes from and the output goes to.
        number: Which of them, counted from the newest, which is 1.

    Raises:
        HabitatError: There is no such container, or it can't be started.
    """
    runner = run_shell(terminal, name, "give it a terminal, or commands in a pipe")
    container = _numbered(project, name, number)

    def bring_up(project: Project, habitat: Habitat, *, fresh: bool = False) -> tuple[Container, bool]:
        del fresh
        current = project.engine.container(container.id)
        if current is None:
            raise StartError(f"{container.name} was removed meanwhile", where=name, remedy="run the same command again")
        return start_if_stopped(project, habitat, current)

    with open_session(project, name, bring_up, skip_delay_if_running=True, stays_aside=True) as session:
        return session.run(SHELL, runner)


def restore(project: Project, name: str, number: int) -> None:
    """Make a container that was set aside the habitat's again. The one that is so far is set aside.

    If that one has no changes, it is removed. No start replaces the restored one because its image is older.

    Raises:
        Conflict: The habitat's container is in use.
        HabitatError: There is no container with this number, or the engine refuses.
    """
    engine, state = project.engine, project.state_folder(name)
    with Presence(state).alone():
        current = replacement.current_container(project, name)
        target = _numbered(project, name, number)
        if current:
            _stop(project, name, current)
        restored.note(project, name, target.id)
        other = _rename(project, current) if current else ""
        own = container_name(project.names.of(name))
        try:
            engine.rename(target.id, own)
        except HabitatError:
            if current:
                with suppress(Conflict):
                    engine.rename(current.id, own)
            raise
        text = f"{own} is the container that was {target.name}"
        if current and is_old(other):
            remove_old(project, name, current)
            text += "; the one before had no changes, and is removed"
        elif current:
            Presence(state).forget(current.id)
            text += f"; the one before is kept as {other}"
    start = command_form.verb("start", name)
    project.bus.emit(events.Notice(name, f"{text}. `{start}` uses it, `{start} --new` makes one of today's image"))


def containers(project: Project, name: str) -> list[Container]:
    """List the containers of a habitat that were set aside, the newest first."""
    own = container_name(project.names.of(name))
    rows = own_containers.containers(project, name)
    aside = [row for row in rows if row.name != own and not is_new(row.name) and not is_old(row.name)]
    return sorted(aside, key=lambda row: row.name, reverse=True)


def _numbered(project: Project, name: str, number: int) -> Container:
    aside = containers(project, name)
    if not aside:
        raise StartError("no container was set aside", where=name, remedy="nothing has to be done")
    if not 1 <= number <= len(aside):
        names = ", ".join(f"{place} is {row.name}" for place, row in enumerate(aside, 1))
        raise StartError(
            f"there is no container {number} that was set aside", where=name, remedy=f"choose one: {names}"
        )
    if container := project.engine.container(aside[number - 1].id):
        return container
    raise StartError(f"{aside[number - 1].name} was removed meanwhile", where=name, remedy="run the same command again")


def _stop(project: Project, name: str, current: Container) -> None:
    if current.running and (users := describe_users(project, Presence(project.state_folder(name)), current)):
        stop = command_form.verb("stop", name)
        raise Conflict(f"{current.name} is in use by {users}", where=name, remedy=f"end that, or `{stop} --force`")
    collect_replaced_files(project, name, current)
    stop_container(project, current)


def _rename(project: Project, current: Container) -> str:
    """Give the habitat's container another name. Return it."""
    has_changes = True
    with suppress(HabitatError):
        has_changes = bool(changes_since_build(project.engine, current) or carried.image_volumes(current))
    names = aside_names(current.name) if has_changes else old_names(current.name)
    other = next(free for free in names if not project.engine.container(free))
    project.engine.rename(current.id, other)
    return other
