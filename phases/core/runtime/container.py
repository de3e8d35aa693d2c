"""Finds, starts or sets aside the container that a habitat runs in."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

from phases.core import events
from phases.core.cache import host_mounts, image_labels
from phases.core.cache.host_mounts import mounts_of
from phases.core.container import safe_paths, shell_errors
from phases.core.engine.types import PortRefused
from phases.core.errors import Conflict, EngineError, HabitatError, NotFound, StartError
from phases.core.runtime.container_errors import port_error
from phases.core.runtime.new_container import (
    LABEL_RESTRICTIONS,
    ContainerChanged,
    create_container,
    main_process,
    restrictions_label,
)
from phases.core.runtime.own_containers import aside_names, container_name, owner
from phases.core.runtime.persistence.collect import collect_replaced_files
from phases.core.runtime.persistence.volumes import paths_of, persistence_of
from phases.core.runtime.session.presence import Presence

if TYPE_CHECKING:
    from phases.core.engine.types import Container
    from phases.core.model import Habitat
    from phases.core.project import Project

# How often to try again if another run changes the container, and the seconds in between.
_TRIES, _PAUSE = 5, 0.2


def own_container(project: Project, name: str) -> Container | None:
    """Return the habitat's container, None if there is none. Raises Conflict if another container has its name."""
    found = project.engine.container(container_name(name))
    if found and owner(project, found) != name:
        raise Conflict(
            f"the container name {found.name} is taken by another container",
            remedy=f"rename that container: docker rename {found.name} OTHER",
        )
    return found


def final_image(project: Project, name: str) -> str:
    """Return the id of the image of the current config. Raises StartError if it isn't built."""
    assessment = project.assess(name)
    if not assessment.final:
        raise StartError(
            f"{image_labels.final_tag(name)} is out of date ({next(iter(assessment.stale.values()))})",
            where=name,
            remedy="run the same command again (without --single, if you gave that)",
        )
    return assessment.final


def ensure_running(project: Project, habitat: Habitat, *, image: str, fresh: bool = False) -> tuple[Container, bool]:
    """Return the habitat's running container, and whether it was running before.

    A container with another image or config is renamed and kept. If a run of another clone creates the container at the
    same time, its container is used.

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
        f"another run keeps changing the container {container_name(habitat.name)}",
        where=habitat.name,
        remedy="see docker ps --all, then run the same command again",
    )


def _find_or_create(project: Project, habitat: Habitat, image: str, *, fresh: bool) -> tuple[Container, bool]:
    found = own_container(project, habitat.name)
    expected = (image, main_process(habitat), set(mounts_of(habitat)), restrictions_label(habitat))
    if found and (
        (found.image, found.command, set(found.binds), found.labels.get(LABEL_RESTRICTIONS)) != expected
        or persistence_of(found).paths != paths_of(habitat)
    ):
        _set_aside(project, habitat, found, "from an older image" if found.image != image else "with another config")
    elif found and fresh:
        _set_aside(project, habitat, found, "by an earlier start")
    elif found:
        if not found.running:
            collect_replaced_files(project, habitat.name, found)  # the last session may have been killed
            _start(project, habitat, found, "as changed in its container: doit start --new creates another one")
        return found, found.running
    try:
        found = create_container(project, habitat, image)
    except Conflict as error:
        raise ContainerChanged from error
    try:
        _start(project, habitat, found)
    except HabitatError:
        now = project.engine.container(found.id)
        if now and not now.running:  # nothing was done in it
            project.engine.remove(found.id)
        raise
    return found, False


def _start(project: Project, habitat: Habitat, container: Container, image_note: str = "") -> None:
    """Start the container. image_note: added to the name of the image in an error about its shell."""
    dests = [bind.dest for bind in container.binds]
    dests += [folder.mount_point for folder in persistence_of(container).folders]
    home = f"/home/{habitat.user}"
    host_mounts.check(habitat)
    try:
        safe_paths.check_mounts(project.engine, container.id, dests, last=False, folders=("/home", home))
        project.engine.start(container.id)
    except PortRefused as error:
        raise port_error(project, habitat, error) from error
    except EngineError as error:
        image = ", ".join(filter(None, (image_labels.final_tag(habitat.name), image_note)))
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
        project.engine.stop(container.id)
        raise


def _set_aside(project: Project, habitat: Habitat, old: Container, reason: str) -> None:
    """Rename and keep an older container, since it may contain somebody's work.

    reason: completes "was created …".
    """
    aside = next(name for name in aside_names(old.name) if not project.engine.container(name))
    collect_replaced_files(project, habitat.name, old)
    current = project.engine.container(old.name)
    if current is None or current.id != old.id:
        raise ContainerChanged
    try:
        project.engine.rename(old.id, aside)
    except (Conflict, NotFound) as error:
        raise ContainerChanged from error
    Presence(project.state_folder(habitat.name)).forget(old.id)
    text = f"{old.name} was created {reason}: kept as {aside}"
    if old.running and project.engine.running_execs(old.id):
        text += ", which is still in use"
    else:
        project.engine.stop(old.id)
        text += f"; to remove it when you no longer need it: docker rm {aside}"
    project.bus.emit(events.Notice(habitat.name, text))
