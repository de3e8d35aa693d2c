"""The settings of a build container: its image, environment, mounts and restrictions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import asdict

from phases.core.build.container import layers
from phases.core.build.container.environment import BuildEnvironment
from phases.core.cache import host_mounts
from phases.core.cache.image_labels import cleared_labels
from phases.core.config.mounts.image_volumes import base_name, uncovered
from phases.core.container import root_environment, safe_paths
from phases.core.container.init_process import IDLE_FOR_PROBE, replace_container
from phases.core.container.main_process import main_process, restrictions
from phases.core.engine.confinement.restrictions import BRIDGE, NO_NETWORK, Restrictions
from phases.core.engine.types import Tmpfs
from phases.core.model import SECRETS_FOLDER
from phases.registry import mounts_volumes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from phases.core.build.container.pool import ReusableContainer
    from phases.core.build.context import PhaseContext
    from phases.core.engine.types import Bind, ImageConfig, VolumeMount

# Bytes that a reused container may hold beyond its image. Writing more with each commit would take longer than
# creating a new container.
_MAX_EXTRA_BYTES = 1_000_000


class ContainerSpec:
    """The settings with which the container of a phase is created.

    Args:
        work: The phase to be built.
        image: The image that the phase starts from.
        env: The variables that the phase's image gets beside those of `image`.
        agent: The mount of the host's SSH agent.
        caches: The caches that are mounted.
        volumes: The mounts of the habitat's volumes. Before phase 6 they may begin with ~.
        is_mounted: Whether the container gets them. If not, nothing is written to their mount points all the same.
    """

    def __init__(
        self,
        work: PhaseContext,
        image: ImageConfig,
        env: Mapping[str, str],
        agent: Bind | None,
        caches: Sequence[VolumeMount],
        volumes: Sequence[Bind],
        *,
        is_mounted: bool = True,
    ) -> None:
        self._work = work
        self._agent = agent
        self.caches = caches
        self._volumes = volumes
        self._binds = volumes if is_mounted else ()
        self.image = image
        self.env = BuildEnvironment({**image.env, **env})
        self.hostname = ""

    @property
    def command(self) -> tuple[str, ...]:
        """The main process."""
        return IDLE_FOR_PROBE

    @property
    def restrictions(self) -> Restrictions:
        """The restrictions of the processes in the container."""
        build = self._work.habitat.build
        network = BRIDGE if self._work.network else NO_NETWORK
        return Restrictions(privileges=build.new_privileges, network=network, **asdict(build.limits))

    @property
    def memory_limit(self) -> tuple[str, int]:
        """The key of the container's memory limit, and its bytes, 0 for none."""
        return "build.limits.memory", self._work.habitat.build.limits.memory

    @property
    def has_secrets(self) -> bool:
        """Return whether the container has secrets or the host's SSH agent."""
        return bool(self._work.secrets or self._agent)

    @property
    def mounts(self) -> list[Bind | Tmpfs | VolumeMount]:
        """All mounts of the container."""
        mounts: list[Bind | Tmpfs | VolumeMount] = [*self._binds, *self.caches]
        if self.has_secrets:
            mounts.append(Tmpfs(SECRETS_FOLDER))
        return [*mounts, self._agent] if self._agent else mounts

    @property
    def mounted_folders(self) -> dict[str, str]:
        """The folders that are no part of the image, each with what an error calls it."""
        habitat = self._work.habitat
        present = (volume for volume in habitat.volumes if volume.present)
        volumes = {bind.dest: f"volume {v.dest} ({v.origin})" for bind, v in zip(self._volumes, present, strict=False)}
        base = base_name(habitat)
        own = {folder: f"VOLUME of {base} {folder}" for folder in uncovered(habitat, self.image.volumes)}
        return own | volumes | {cache.dest: f"cache {cache.dest}" for cache in self.caches}

    @property
    def planned_folders(self) -> set[str]:
        """Those of `mounted_folders` at which a later phase mounts the habitat's volumes."""
        return set() if mounts_volumes(self._work.phase) else {bind.dest for bind in self._volumes}

    def is_met_by(self, container: ReusableContainer) -> bool:
        """Return whether a new container would make no difference, so that the phase can continue in this one."""
        return (
            container.image == self.image.id
            and (
                self.image.size - container.base_size <= _MAX_EXTRA_BYTES
                or layers.are_scarce(self._work.engine, self.image)
            )
            and not self.image.volumes
            and not self.has_secrets
            and list(container.mounts) == self.mounts
            and self.env.fits(container.env)
        )

    def create(self) -> str:
        """Create the container, in place of one that a killed run left under its name. Returns its id."""
        return replace_container(self._work.engine, self._work.container_name, self._create)

    def _create(self, name: str) -> str:
        self.check_binds()
        engine, mounts = self._work.engine, self.mounts
        container = engine.create(
            self.image.id,
            name,
            self.command,
            env=self.env.of_container,
            labels=cleared_labels(self.image.labels),
            mounts=mounts,
            hostname=self.hostname,
            restrictions=self.restrictions,
        )
        try:
            safe_paths.check_mounts(engine, container, [mount.dest for mount in mounts], last=True)
        except BaseException:
            engine.remove(container)
            raise
        return container

    def check_binds(self) -> None:
        """Check that the mounted folders of the host are still those that the config names. Raises HabitatError."""
        if self._binds:
            host_mounts.check(self._work.habitat)


class InitContainerSpec(ContainerSpec):
    """The settings of a container with the habitat's init command: those of a start, without ports and kept data."""

    def __init__(self, work: PhaseContext, image: ImageConfig, volumes: Sequence[Bind]) -> None:
        super().__init__(work, image, {}, None, (), volumes)
        proxies = root_environment.proxies(work.engine, work.habitat)
        self.env.of_container = {**image.env, **root_environment.for_main_process(image.env), **proxies}
        self.hostname = work.habitat.name[:63]

    @property
    def command(self) -> tuple[str, ...]:
        return main_process(self._work.habitat)

    @property
    def restrictions(self) -> Restrictions:
        return restrictions(self._work.habitat)

    @property
    def memory_limit(self) -> tuple[str, int]:
        return "entry.limits.memory", self._work.habitat.entry.limits.memory

    def is_met_by(self, container: ReusableContainer) -> bool:
        del container
        return False
