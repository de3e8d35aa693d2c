"""Creates the container that a habitat runs in, and derives from the config what it is created with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import asdict

from phases.core.cache import host_mounts
from phases.core.cache.host_mounts import mounts_of
from phases.core.container import root_environment, safe_paths
from phases.core.container.main_process import main_process, published_ports, restrictions
from phases.core.container.root_environment import LABEL_ENVIRONMENT
from phases.core.engine.confinement.restrictions import NO_NETWORK
from phases.core.engine.types import Tmpfs
from phases.core.entry_settings import ALLOWLIST
from phases.core.errors import HabitatError, NotFound, StartError
from phases.core.model import SECRETS_FOLDER
from phases.core.runtime.own_containers import marks
from phases.core.runtime.session import entry_env
from phases.core.secrets import fingerprints

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from phases.core.engine.protocol import Engine
    from phases.core.engine.types import Bind, Container, ImageConfig, VolumeMount
    from phases.core.model import Habitat
    from phases.core.project import Project

#: The label with the home that mount points below ~ are in. Only containers with such volumes have it.
LABEL_HOME = "habitat.home"

#: The label with a container's restrictions and ports, numbers with six digits. Engines report these in different ways.
LABEL_RESTRICTIONS = "habitat.confinement"

#: The label with a container's limits, in full. Containers of earlier versions have none.
LABEL_LIMITS = "habitat.limits"

# The part of LABEL_RESTRICTIONS of a container that has a gate.
_GATED = "network=gate"

# Bytes of the main process's output that the engine keeps.
_LOG_BYTES = 32_000_000


class ContainerChanged(Exception):
    """Another run has changed the container since it was inspected."""


def create_container(
    project: Project,
    habitat: Habitat,
    image: str,
    name: str,
    labels: Mapping[str, str],
    of_image: Sequence[VolumeMount] = (),
) -> Container:
    """Create the habitat's container with its persistent volumes. It isn't started.

    Args:
        project: The project.
        habitat: The habitat.
        image: The id of the image.
        name: The name of the container.
        labels: Labels beside those that all containers of habitats have.
        of_image: Volumes, to be used again, that stand for VOLUMEs of the image.

    Raises:
        Conflict: Another run has created the container meanwhile.
        ContainerChanged: Another run has removed it.
        HabitatError: It can't be created.
    """
    from phases.core.runtime.persistence.create import create_with_volumes

    engine, config = project.engine, project.engine.image_config(image)
    env, home, labels = (config.env if config else {}), "", {**labels, **project.identity.labels}
    if config and host_mounts.need_home(mounts_of(habitat)):
        labels[LABEL_HOME] = home = _home_with_mounts(project, habitat, config)
    binds = _binds(project, habitat, home)

    def create(name: str, own_labels: Mapping[str, str], volumes: Sequence[VolumeMount]) -> str:
        new = {**labels, **marks(project.names.of(habitat.name)), **own_labels}
        return _create(engine, habitat, image, env, name, new, _mounts(binds, volumes, of_image))

    container_id = create_with_volumes(project, habitat, image, name, create)
    container = engine.container(container_id)
    if container is None:
        raise ContainerChanged
    try:
        fingerprints.begin(project.state_folder(habitat.name), engine, habitat, container_id)
    except HabitatError:
        engine.remove(container_id)
        raise
    return container


def _mounts(
    binds: Sequence[Bind], volumes: Sequence[VolumeMount], of_image: Sequence[VolumeMount]
) -> list[Bind | Tmpfs | VolumeMount]:
    """Return all mounts. of_image: volumes for places that have no other mount."""
    taken = {mount.dest for mount in binds} | {mount.dest for mount in volumes}
    others = [volume for volume in of_image if volume.dest not in taken]
    return [*binds, Tmpfs(SECRETS_FOLDER), *volumes, *others]


def _binds(project: Project, habitat: Habitat, home: str) -> tuple[Bind, ...]:
    from phases.core.runtime.person import agent_folder  # imported late: a cached start creates no container

    return (*host_mounts.in_home(mounts_of(habitat), home), *agent_folder.binds(project, habitat))


def _home_with_mounts(project: Project, habitat: Habitat, image: ImageConfig) -> str:
    """Return USER's home. Raises ConfigError if a mount point or WORKDIR below it is missing on the host by now."""
    from phases.core.container import user_home

    draft = project.temporary_containers.passing_name("shell", habitat.name)
    home = user_home.in_image(project.engine, image, draft, habitat)
    check_mount_points(habitat, home)
    return home


def check_mount_points(habitat: Habitat, home: str) -> None:
    """Raise ConfigError if a mount point or WORKDIR below USER's home is missing on the host by now.

    The config is checked before a container exists, when the home is not known.
    """
    from phases.core.config.mounts import mountable_paths, volume_conflicts

    places = {mountable_paths.in_home(volume.dest, home): volume for volume in habitat.volumes}
    volume_conflicts.check_mount_points(habitat, places)


def _create(
    engine: Engine,
    habitat: Habitat,
    image: str,
    env: Mapping[str, str],
    name: str,
    labels: Mapping[str, str],
    mounts: Sequence[Bind | Tmpfs | VolumeMount],
) -> str:
    """Create a container of the image. env: that of the image. labels: those for persistent paths too."""
    host_mounts.check(habitat)
    try:
        container = engine.create(
            image,
            name,
            main_process(habitat),
            env=root_environment.for_main_process(env)
            | _proxies_of_init_command(engine, habitat)
            | entry_env.for_main_process(habitat, env),
            labels={**_labels(habitat, env), **labels},
            mounts=mounts,
            hostname=habitat.name[:63],
            restrictions=restrictions(habitat),
            ports=published_ports(habitat),
            log_bytes=_LOG_BYTES,
            # The init of a habitat ends at TERM. A STOPSIGNAL of the image is meant for the image's own command.
            stop_signal="" if habitat.entry.init_command.strip() else "SIGTERM",
        )
    except NotFound as error:
        raise StartError(
            f"the image {image[7:19]} was replaced by another run",
            where=habitat.name,
            remedy="run the same command again",
        ) from error
    try:
        safe_paths.check_mounts(engine, container, (mount.dest for mount in mounts), last=True)
    except HabitatError:
        engine.remove(container)
        raise
    return container


def _proxies_of_init_command(engine: Engine, habitat: Habitat) -> dict[str, str]:
    """Return the proxies for the main process. Every other command gets those of the time when it begins."""
    return root_environment.proxies_of_running(engine, habitat) if habitat.entry.init_command else {}


def _labels(habitat: Habitat, env: Mapping[str, str]) -> dict[str, str]:
    """Return the labels of all containers of the habitat. env: that of the image."""
    return {
        LABEL_RESTRICTIONS: restrictions_label(habitat),
        LABEL_LIMITS: limits_label(habitat),
        LABEL_ENVIRONMENT: root_environment.label_for(env),
        **entry_env.label(habitat),
        **fingerprints.label(habitat),
    }


def restrictions_label(habitat: Habitat) -> str:
    """Return the value of LABEL_RESTRICTIONS."""
    its = restrictions(habitat)
    network = _GATED if habitat.entry.network == ALLOWLIST else f"network={its.network != NO_NETWORK:g}"
    values = {**asdict(habitat.entry.limits), "shm": its.shm}
    # Containers of versions without shm_size have no such part, and need no replacement.
    limits = [f"{key}={value:g}" for key, value in values.items() if key != "shm" or value]
    limits = [f"privileges={its.privileges:g}", network, *limits]
    return " ".join([*limits, *(f"port={port}" for port in sorted(published_ports(habitat)))])


def is_gated(container: Container) -> bool:
    """Return whether a container has no network of its own, but a gate."""
    return _GATED in container.labels.get(LABEL_RESTRICTIONS, "").split()


def limits_label(habitat: Habitat) -> str:
    """Return the value of LABEL_LIMITS."""
    entry = habitat.entry
    return " ".join(f"{key}={value!r}" for key, value in {**asdict(entry.limits), "shm": entry.shm_size}.items())
