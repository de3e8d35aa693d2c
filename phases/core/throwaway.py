"""A container of any snapshot of a habitat, to look around in; nothing of it stays."""

from __future__ import annotations

import contextlib
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from phases.core import events, snapshots
from phases.core.accounts import Accounts
from phases.core.build_container import IDLE
from phases.core.engine import Tmpfs
from phases.core.errors import EngineError, HabitatError, StartError, did_you_mean
from phases.core.habitat_container import confinement
from phases.core.project import binds_of
from phases.core.runtime import Visit
from phases.core.secrets import deliver
from phases.protocol import SECRETS_FOLDER
from phases.registry import last_snapshot, mounts_volumes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from phases.core.engine import Container, Image
    from phases.core.model import Habitat
    from phases.core.project import Project
    from phases.protocol import Phase


@contextmanager
def thrown_away(project: Project, name: str, phase_name: str) -> Iterator[Visit]:
    """Be in a container of a phase's snapshot, as USER where it has that user, in WORKDIR where it has
    that folder. It is removed at the end. Raises HabitatError.
    """
    habitat = project.habitat(name)
    phase = _phase(project, name, phase_name)
    image = _snapshot(project, name, phase)
    _sweep(project, name)
    secrets = project.vault.values(secret for secret in habitat.secrets if secret.start)

    def make() -> Container:
        container = _create(project, habitat, image, phase)
        project.open_ends[name] = lambda: project.engine.remove(container.id)
        return container

    container = project.maker.make(make)
    try:
        project.engine.start(container.id)
        user, workdir = _who(project, habitat, container), _where(project, habitat, container)
        deliver(project.engine, container.id, secrets, user)
        project.bus.emit(events.ContainerUp(name, container.name, container.id, was_running=False))
        yield Visit(project, habitat, container, secrets, user, workdir)
    except EngineError as error:
        raise _removed(project, habitat, container) or error from error
    finally:
        if remove := project.open_ends.pop(name, None):
            remove()


def _phase(project: Project, name: str, phase_name: str) -> Phase:
    phases = {phase.NAME: phase for phase in project.phases(name)}
    if phase_name not in phases:
        raise StartError(f"there is no phase '{phase_name}'", where=name, remedy=did_you_mean(phase_name, phases))
    return phases[phase_name]


def _snapshot(project: Project, name: str, phase: Phase) -> Image:
    """The image a phase has left; where it leaves none, the one that it looks at."""
    kept = phase if phase.SNAPSHOT else last_snapshot(project.phases(name), phase)
    assert kept, "the first phase leaves an image"
    image = project.inventory.tagged(snapshots.snapshot_tag(name, kept))
    if image is None:
        task = snapshots.task_name(kept, name)
        raise StartError(f"there is no snapshot of {kept.NAME}", where=name, remedy=f"doit {task} makes one")
    if why := project.assess(name).stale.get(kept.NAME):
        text = f"{kept.NAME} is what was built before ({why})"
        project.bus.emit(events.Notice(name, text, warning=True))
    if kept is not phase:
        project.bus.emit(events.Notice(name, f"{phase.NAME} leaves no snapshot: this is that of {kept.NAME}"))
    return image


def _create(project: Project, habitat: Habitat, image: Image, phase: Phase) -> Container:
    made = project.engine.create(
        image.id,
        f"{_prefix(project, habitat.name)}{os.getpid()}",
        IDLE,
        mounts=(*(binds_of(habitat) if mounts_volumes(phase) else ()), Tmpfs(SECRETS_FOLDER)),
        hostname=f"{habitat.name[:40]}-{phase.NAME}",
        confinement=confinement(habitat),
    )
    container = project.engine.container(made)
    assert container, "a container just made is there"
    return container


def _prefix(project: Project, name: str) -> str:
    return f"{project.build_container(name).replace('habitat_build_', 'habitat_shell_', 1)}_"


def _sweep(project: Project, name: str) -> None:
    """Remove what a killed run has left; its number is in its container's name."""
    prefix = _prefix(project, name)
    for container in project.engine.containers(name_prefix=prefix):
        if not Path("/proc", container.name.removeprefix(prefix)).exists():
            project.engine.remove(container.id)


def _who(project: Project, habitat: Habitat, container: Container) -> str:
    users = Accounts(lambda path: project.engine.get(container.id, path) or b"")
    return habitat.user if habitat.user in users else "root"


def _where(project: Project, habitat: Habitat, container: Container) -> str:
    found = project.engine.stat(container.id, habitat.workdir)
    return habitat.workdir if found and (found.is_dir or found.link) else "/"


def _removed(project: Project, habitat: Habitat, container: Container) -> HabitatError | None:
    with contextlib.suppress(EngineError):
        if project.engine.container(container.id) is None:
            return StartError("its container was removed", where=habitat.name, remedy="do the same again")
    return None
