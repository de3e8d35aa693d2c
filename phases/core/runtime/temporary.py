"""Sessions in a temporary container of a habitat's snapshot. The container is removed at the end."""

from __future__ import annotations

import contextlib
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from phases.core import command_form, events
from phases.core.cache import host_mounts, image_labels
from phases.core.cache.host_mounts import mounts_in
from phases.core.container import identity, root_environment, safe_paths, shell_errors, user_home
from phases.core.container.init_process import IDLE
from phases.core.container.main_process import restrictions
from phases.core.container.root_environment import LABEL_ENVIRONMENT
from phases.core.container.users import UserDatabase
from phases.core.engine.confinement.restrictions import UNCONFINED
from phases.core.engine.types import Tmpfs
from phases.core.errors import EngineError, HabitatError, StartError, did_you_mean
from phases.core.model import SECRETS_FOLDER
from phases.core.runtime.session import entry_env
from phases.core.runtime.session.session import Session
from phases.core.secrets.delivery import deliver
from phases.registry import last_snapshot

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from phases.core.engine.confinement.restrictions import Restrictions
    from phases.core.engine.types import Bind, Container, Image, VolumeMount
    from phases.core.model import Habitat
    from phases.core.project import Project
    from phases.protocol import Phase

# Part of the names of these containers.
_PURPOSE = "shell"


@contextmanager
def open_temporary_session(project: Project, name: str, phase_name: str) -> Iterator[Session]:
    """Open a session in a container of a phase's snapshot.

    It is a session of USER in WORKDIR, if the snapshot has them, else of root in /.

    Args:
        project: The project.
        name: The name of the habitat.
        phase_name: The name of the phase.

    Raises:
        HabitatError: There is no such phase, it has no snapshot, or the container can't be started.
    """
    habitat = project.habitat(name)
    phase = _phase(project, name, phase_name)
    image = _snapshot(project, name, phase)
    secrets = project.vault.values(secret for secret in habitat.secrets if secret.start)
    mounts = mounts_in(habitat, phase)
    host_mounts.admit(project.need_trust, habitat, mounts)
    with temporary_container(project, habitat, image, phase.NAME, mounts, restrictions(habitat)) as container:
        start_container(project, habitat, container)
        users = user_database(project, habitat, container)
        user = habitat.user if habitat.user in users else "root"
        workdir = existing_folder(project, container, habitat.workdir)
        deliver(project.engine, container.id, secrets, user, habitat)
        project.bus.emit(events.ContainerUp(name, container.name, container.id, was_running=False))
        is_users = user == habitat.user
        env = entry_env.for_commands(project.engine, habitat, container, users, user) if is_users else {}
        yield Session(project, habitat, container, secrets, user, workdir, extra_env=env, users=users)


def start_container(project: Project, habitat: Habitat, container: Container) -> None:
    """Start a container that has mounts of the habitat. Raises HabitatError if they can't be mounted."""
    host_mounts.check(habitat)
    safe_paths.check_mounts(project.engine, container.id, (bind.dest for bind in container.binds), last=True)
    project.engine.start(container.id)
    host_mounts.check(habitat)


@contextmanager
def temporary_container(
    project: Project,
    habitat: Habitat,
    image: Image,
    hostname_suffix: str,
    mounts: Sequence[Bind | VolumeMount],
    restrictions: Restrictions = UNCONFINED,
) -> Iterator[Container]:
    """Create a container with a folder for secrets, and remove it at the end. It isn't started.

    Args:
        project: The project.
        habitat: The habitat.
        image: The image.
        hostname_suffix: What the prompt shows after the habitat's name.
        mounts: The mounts.
        restrictions: What the container is not allowed to do.
    """
    project.temporary_containers.sweep(_PURPOSE, habitat.name)
    config = project.engine.image_config(image.id)
    env = config.env if config else {}
    if config and host_mounts.need_home(mounts):
        draft = project.temporary_containers.passing_name(_PURPOSE, habitat.name)
        home = user_home.in_image(project.engine, config, draft, habitat)
        mounts = host_mounts.in_home(mounts, home)
    hostname = f"{habitat.name[:40]}-{hostname_suffix}"
    create = partial(_create, project, habitat.name, image, env, hostname, mounts, restrictions)
    container = project.maker.make(create)
    try:
        yield container
    except EngineError as error:
        raise _better_error(project, habitat, image, container, error) or error from error
    finally:
        project.cleanups.run(habitat.name)


def _create(
    project: Project,
    name: str,
    image: Image,
    env: Mapping[str, str],
    hostname: str,
    mounts: Sequence[Bind | VolumeMount],
    restrictions: Restrictions,
) -> Container:
    """Create the container, and have the run remove it at its end. env: that of the image."""
    engine = project.engine
    container_id = engine.create(
        image.id,
        project.temporary_containers.passing_name(_PURPOSE, name),
        IDLE,
        env=root_environment.for_main_process(env),
        labels={LABEL_ENVIRONMENT: root_environment.label_for(env)},
        mounts=(*mounts, Tmpfs(SECRETS_FOLDER)),
        hostname=hostname,
        restrictions=restrictions,
    )
    container = engine.container(container_id)
    assert container, "a container that was just created exists"
    project.cleanups.add(name, lambda: engine.remove(container.id))
    return container


def _phase(project: Project, name: str, phase_name: str) -> Phase:
    phases = {phase.NAME: phase for phase in project.phases(name)}
    if phase_name not in phases:
        remedy = did_you_mean(phase_name, phases, in_order=True)
        raise StartError(f"there is no phase '{phase_name}'", where=name, remedy=remedy)
    return phases[phase_name]


def _snapshot(project: Project, name: str, phase: Phase) -> Image:
    """Return the snapshot of a phase, or the one before it if the phase makes none."""
    source = phase if phase.SNAPSHOT else last_snapshot(project.phases(name), phase)
    assert source, "the first phase makes a snapshot"
    image = project.image_index.tagged(image_labels.snapshot_tag(project.names.of(name), source))
    if image is None:
        remedy = f"`{command_form.phase(source.NAME, name)}` builds it"
        raise StartError(f"there is no snapshot of {source.NAME}", where=name, remedy=remedy)
    if reason := project.assess(name).stale.get(source.NAME):
        text = f"the snapshot of {source.NAME} is out of date ({reason})"
        project.bus.emit(events.Notice(name, text, warning=True))
    if source is not phase:
        text = f"{phase.NAME} makes no snapshot: this is the one of {source.NAME}"
        project.bus.emit(events.Notice(name, text))
    return image


def user_database(project: Project, habitat: Habitat, container: Container) -> UserDatabase:
    """Return the users of a container."""
    env = root_environment.environment_of_label(container.labels)
    return UserDatabase(lambda path: project.engine.read_file(container.id, path) or b"", identity.homes(habitat, env))


def existing_folder(project: Project, container: Container, folder: str) -> str:
    """Return `folder` if the container has it, else /."""
    stat = project.engine.stat(container.id, folder)
    return folder if stat and (stat.is_dir or stat.link) else "/"


def _better_error(
    project: Project, habitat: Habitat, image: Image, container: Container, error: EngineError
) -> HabitatError | None:
    """Return the error that says why a use of the container failed, None if `error` says as much."""
    with contextlib.suppress(EngineError):
        if project.engine.container(container.id) is None:
            return StartError("its container was removed", where=habitat.name, remedy="run the same command again")
    image_name = next(iter(image.tags), image.id)
    return shell_errors.from_engine_error(project.engine, container.id, habitat, image_name, error)
