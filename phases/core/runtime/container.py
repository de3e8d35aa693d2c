"""Finds, creates and starts the container that a habitat runs in."""

from __future__ import annotations

import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from phases.core import command_form
from phases.core.cache import host_mounts, image_labels
from phases.core.container import safe_paths
from phases.core.engine.types import PortRefused
from phases.core.entry_settings import ALLOWLIST
from phases.core.errors import Conflict, EngineError, HabitatError, StartError
from phases.core.runtime import replacement
from phases.core.runtime.carry import restored
from phases.core.runtime.carry.difference import difference
from phases.core.runtime.new_container import (
    LABEL_HOME,
    ContainerChanged,
    check_mount_points,
    create_container,
    is_gated,
)
from phases.core.runtime.own_containers import (
    LABEL_CARRIED_AT,
    LABEL_IMAGE_VOLUMES,
    LABEL_REPLACES,
    LABEL_RETIRES,
    container_name,
    new_names,
)
from phases.core.runtime.persistence.collect import collect_replaced_files
from phases.core.runtime.persistence.volumes import persistence_of, workspaces_of
from phases.core.runtime.person import commit_author
from phases.core.runtime.session import image_users, mount_warnings
from phases.core.runtime.session.presence import STARTING, Presence
from phases.core.runtime.stop import stop_container
from phases.core.runtime.workspace import at_start

if TYPE_CHECKING:
    from collections.abc import Sequence

    from phases.core.engine.types import Container, VolumeMount
    from phases.core.model import Habitat
    from phases.core.project import Project

# How often to try again if another run changes the container, and the seconds in between.
_TRIES, _PAUSE = 5, 0.2


def final_image(project: Project, name: str) -> str:
    """Return the id of the image of the current config. Raises StartError if it isn't built."""
    assessment = project.assess(name)
    if not assessment.final:
        tag = image_labels.final_tag(project.names.of(name))
        raise StartError(
            f"{tag} is out of date ({next(iter(assessment.stale.values()))})",
            where=name,
            remedy="run the same command again (without --single, if you gave that)",
        )
    return assessment.final


def ensure_running(project: Project, habitat: Habitat, *, image: str, fresh: bool = False) -> tuple[Container, bool]:
    """Return the habitat's running container, and whether it was running before.

    A container with another image is replaced (see `replacement`), one with other settings by one with its files:
    then the one that this returns has a name of its own until `replacement.put_in_place`. If a run of another clone
    creates the container at the same time, its container is used.

    Args:
        project: The project.
        habitat: The habitat.
        image: The id of the image, since its tag may have moved.
        fresh: Whether to create a new container in any case.
    """
    for _ in range(_TRIES):
        with suppress(ContainerChanged):
            return _find_or_create(project, habitat, image, fresh=fresh)
        fresh = False  # the one that the other run has just created is fresh
        time.sleep(_PAUSE)
    raise Conflict(
        f"another run keeps changing the container {container_name(project.names.of(habitat.name))}",
        where=habitat.name,
        remedy="see docker ps --all, then run the same command again",
    )


def _find_or_create(project: Project, habitat: Habitat, image: str, *, fresh: bool) -> tuple[Container, bool]:
    current = replacement.current_container(project, habitat.name)
    if current and not fresh and restored.is_restored(project, habitat.name, current):
        from phases.core.runtime.carry import settings  # imported late: few containers were restored

        image = settings.image_of_restored(project, habitat, current, image)
    change = difference(project, habitat, current, image) if current else None
    if current and not change and not fresh:
        return start_if_stopped(project, habitat, current)
    if current and change and change.settings and not fresh:
        from phases.core.runtime.carry import carried, carry_over  # imported late: most starts change nothing

        if carried.is_possible(project, current):
            resume = partial(start_if_stopped, project, habitat)
            create = partial(create_and_start, project, habitat)
            return carry_over.GiveSettings(project, habitat, image, resume, create).to(current, change)
    if current:
        reason = change.reason if change else ""
        replacement.announce(project, habitat, current, reason or "you asked for a new one")
    again = None if fresh else replacement.matching(project, habitat, image)
    if current:
        replacement.make_way(project, habitat, current)
    try:
        return (
            start_if_stopped(project, habitat, again)
            if again
            else create_and_start(project, habitat, image, current, fresh=fresh)
        )
    except (HabitatError, ContainerChanged):
        replacement.resume_old(project, habitat.name)
        raise


def _start_with_gate(project: Project, habitat: Habitat, container: Container) -> None:
    if not is_gated(container):
        project.engine.start(container.id)
        return
    from phases.core.network import gate  # imported late: many habitats have no allowlist

    gate.start_behind(project, habitat, container)


def start_if_stopped(project: Project, habitat: Habitat, container: Container) -> tuple[Container, bool]:
    """Start a container of an earlier start if it doesn't run. Return it, and whether it was running."""
    if habitat.entry.network == ALLOWLIST and not is_gated(container):
        verb = "stop" if container.running else "start"
        raise StartError(
            f"{container.name} has a network without the allowlist that entry.network asks for",
            where=habitat.name,
            remedy=f"`{command_form.verb(verb, habitat.name)}`, then run the same command again",
        )
    if not container.running:
        collect_replaced_files(project, habitat.name, container)  # the last session may have been killed
        _start(project, habitat, container, is_first=False)
    elif is_gated(container):
        from phases.core.network import gate  # imported late: many habitats have no allowlist

        gate.ensure(project, habitat, container)
    return container, container.running


def create_and_start(
    project: Project,
    habitat: Habitat,
    image: str,
    old: Container | None,
    *,
    fresh: bool = False,
    of_image: Sequence[VolumeMount] = (),
    carries: bool = False,
) -> tuple[Container, bool]:
    """Create and start a container. If it is to replace `old`, it has a name of its own until it is ready.

    fresh: whether a person asked for a new one. of_image: volumes of `old` that nobody has named. carries: whether the
    image has the files of `old`.
    """
    name = container_name(project.names.of(habitat.name))
    labels = {LABEL_REPLACES: old.id if old else "", LABEL_RETIRES: "yes" if fresh else ""}
    labels[LABEL_CARRIED_AT] = str(old.since) if old and carries else ""
    labels[LABEL_IMAGE_VOLUMES] = " ".join(volume.volume for volume in of_image)
    if old:
        name = next(new for new in new_names(name) if not project.engine.container(new))
    try:
        container = create_container(project, habitat, image, name, labels, of_image)
    except Conflict as error:
        raise ContainerChanged from error
    image_users.learn(project, habitat.name, container)
    commit_author.learn(project, habitat, container)
    mount_warnings.warn(project, habitat, container)
    try:
        if old and carries:
            from phases.core.runtime.carry import settings

            settings.keep_files(project, old, container)
            restored.follow(project, habitat.name, old, container)
        _start(project, habitat, container, is_first=True)
    except HabitatError:
        now = project.engine.container(container.id)
        if now and not now.running:  # nothing was done in it
            project.engine.remove(container.id)
        raise
    return container, False


def _start(project: Project, habitat: Habitat, container: Container, *, is_first: bool) -> None:
    """Start the container, and record that before, for the guard of a run that is killed.

    is_first: whether it was just created.
    """
    presence = Presence(project.state_folder(habitat.name))
    presence.note(container.id, STARTING)
    try:
        at_start.bring_up_to_date(project, habitat, container, is_first=is_first)
        _start_checked(project, habitat, container, is_first=is_first)
        at_start.remind_of_drift(project, habitat, container)
    except (HabitatError, ContainerChanged):
        presence.drop_note(container.id, STARTING)
        raise


def _start_checked(project: Project, habitat: Habitat, container: Container, *, is_first: bool) -> None:
    dests = [bind.dest for bind in container.binds]
    dests += [folder.mount_point for folder in persistence_of(container).folders]
    dests += [workspace.resolved for workspace in workspaces_of(container).entries]
    home = f"/home/{habitat.user}"
    host_mounts.check(habitat)
    if volumes_home := container.labels.get(LABEL_HOME, ""):
        check_mount_points(habitat, volumes_home)
    check_links = partial(
        safe_paths.check_mounts, project.engine, container.id, dests, last=False, folders=("/home", home)
    )
    try:
        check_links()
        if habitat.entry.files:
            from phases.core.runtime.session import entry_files  # imported late: many habitats have none

            entry_files.copy_into(project, habitat, container)
            check_links()  # a link may have been copied
        _start_with_gate(project, habitat, container)
    except PortRefused as error:
        from phases.core.runtime.container_errors import port_error  # imported late: most starts succeed

        raise port_error(project, habitat, error) from error
    except EngineError as error:
        from phases.core.container import shell_errors

        image = image_labels.final_tag(project.names.of(habitat.name))
        if not is_first:
            new = command_form.command("start", "--new")
            image += f", as changed in its container: `{new}` creates another one"
        if better := shell_errors.from_engine_error(project.engine, container.id, habitat, image, error):
            raise better from error
        if project.engine.container(container.id) is None:
            raise ContainerChanged from error
        init = habitat.entry.init_command
        raise StartError(
            f"container {container.name} can't be started ({error.message})",
            where=habitat.name,
            remedy=f"check that the image has {init.split()[0]}" if init else "fix what the engine reports",
        ) from error
    try:
        host_mounts.check(habitat)  # a path may have been replaced while the engine mounted it
    except HabitatError:
        stop_container(project, container)
        raise
