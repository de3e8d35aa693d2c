"""A container of any image of a habitat, to look around in; nothing of it stays."""

from __future__ import annotations

import contextlib
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from phases.core import events
from phases.core.cache import image_index
from phases.core.cache import mounts as cache_mounts
from phases.core.cache.mounts import mounts_in
from phases.core.container import root_environment, shell_errors
from phases.core.container.init_process import IDLE
from phases.core.container.root_environment import LABEL_ENVIRONMENT
from phases.core.container.users import UserDatabase
from phases.core.engine.protocol import UNCONFINED, Tmpfs
from phases.core.errors import EngineError, HabitatError, StartError, did_you_mean
from phases.core.runtime.container import restrictions
from phases.core.runtime.session import Session
from phases.core.secrets.store import deliver
from phases.protocol import SECRETS_FOLDER
from phases.registry import last_snapshot

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from phases.core.engine.protocol import Bind, Container, Image, Restrictions, VolumeMount
    from phases.core.model import Habitat
    from phases.core.project import Project
    from phases.protocol import Phase

# Stands in the names of these containers.
_PURPOSE = "shell"


@contextmanager
def thrown_away(project: Project, name: str, phase_name: str) -> Iterator[Session]:
    """Be in a container of a phase's snapshot, as USER where it has that user, in WORKDIR where it has
    that folder. It is removed at the end. Raises HabitatError.
    """
    habitat = project.habitat(name)
    phase = _phase(project, name, phase_name)
    image = _snapshot(project, name, phase)
    secrets = project.vault.values(secret for secret in habitat.secrets if secret.start)
    mounts = mounts_in(habitat, phase)
    cache_mounts.admit(project, habitat, mounts)
    with passing(project, habitat, image, phase.NAME, mounts, restrictions(habitat)) as container:
        started(project, habitat, container)
        users = accounts(project, container)
        user, workdir = habitat.user if habitat.user in users else "root", where(project, container, habitat.workdir)
        deliver(project.engine, container.id, secrets, user)
        project.bus.emit(events.ContainerUp(name, container.name, container.id, was_running=False))
        yield Session(project, habitat, container, secrets, user, workdir)


def started(project: Project, habitat: Habitat, container: Container) -> None:
    """Start a container that has volumes of the habitat."""
    cache_mounts.check(habitat)
    project.engine.start(container.id)
    cache_mounts.check(habitat)


@contextmanager
def passing(
    project: Project,
    habitat: Habitat,
    image: Image,
    called: str,
    mounts: Sequence[Bind | VolumeMount],
    restrictions: Restrictions = UNCONFINED,
) -> Iterator[Container]:
    """A container with a place for secrets, not started, that is removed at the end. called: what a prompt
    is to show beside the habitat's name.
    """
    name = habitat.name
    project.scratch.sweep(_PURPOSE, name)

    config = project.engine.image_config(image.id)
    env = config.env if config else {}

    def make() -> Container:
        made = project.engine.create(
            image.id,
            project.scratch.passing_name(_PURPOSE, name),
            IDLE,
            env=root_environment.for_container(env),
            labels={LABEL_ENVIRONMENT: root_environment.label_for(env)},
            mounts=(*mounts, Tmpfs(SECRETS_FOLDER)),
            hostname=f"{name[:40]}-{called}",
            restrictions=restrictions,
        )
        container = project.engine.container(made)
        assert container, "a container just made is there"
        project.open_ends[name] = lambda: project.engine.remove(container.id)
        return container

    container = project.maker.make(make)
    try:
        yield container
    except EngineError as error:
        told = _removed(project, name, container)
        told = told or shell_errors.from_engine_error(
            project.engine, container.id, habitat, next(iter(image.tags), image.id), error
        )
        raise told or error from error
    finally:
        if remove := project.open_ends.pop(name, None):
            # A signal ends the run as one, whatever is met on the way out.
            project.attempt(name, remove) if isinstance(sys.exception(), KeyboardInterrupt) else remove()


def _phase(project: Project, name: str, phase_name: str) -> Phase:
    phases = {phase.NAME: phase for phase in project.phases(name)}
    if phase_name not in phases:
        raise StartError(f"there is no phase '{phase_name}'", where=name, remedy=did_you_mean(phase_name, phases))
    return phases[phase_name]


def _snapshot(project: Project, name: str, phase: Phase) -> Image:
    """The image a phase has left; where it leaves none, the one that it looks at."""
    kept = phase if phase.SNAPSHOT else last_snapshot(project.phases(name), phase)
    assert kept, "the first phase leaves an image"
    image = project.inventory.tagged(image_index.snapshot_tag(name, kept))
    if image is None:
        task = image_index.task_name(kept, name)
        raise StartError(f"there is no snapshot of {kept.NAME}", where=name, remedy=f"doit {task} makes one")
    if why := project.assess(name).stale.get(kept.NAME):
        text = f"{kept.NAME} is what was built before ({why})"
        project.bus.emit(events.Notice(name, text, warning=True))
    if kept is not phase:
        project.bus.emit(events.Notice(name, f"{phase.NAME} leaves no snapshot: this is that of {kept.NAME}"))
    return image


def accounts(project: Project, container: Container) -> UserDatabase:
    return UserDatabase(lambda path: project.engine.read_file(container.id, path) or b"")


def where(project: Project, container: Container, folder: str) -> str:
    """`folder`, or one that there is."""
    found = project.engine.stat(container.id, folder)
    return folder if found and (found.is_dir or found.link) else "/"


def _removed(project: Project, name: str, container: Container) -> HabitatError | None:
    with contextlib.suppress(EngineError):
        if project.engine.container(container.id) is None:
            return StartError("its container was removed", where=name, remedy="do the same again")
    return None
