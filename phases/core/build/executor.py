"""Runs the steps of a phase: the one place where a plan meets the engine.

A phase works in a container on the snapshot before it, created only when a step needs one and started only when a step
runs something. Every image committed from a container has the settings that the container was created with. So a
container is created only with settings that the image shall have: its environment.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from msgspec.structs import replace

from phases import protocol
from phases.core import events
from phases.core.build import base_image, cache_locks, cache_volumes, image_config, steps
from phases.core.build import failure as build_failure
from phases.core.build.commands.init_command import InitCommand
from phases.core.build.commands.runner import CommandRunner
from phases.core.build.container import layers, volume_mounts
from phases.core.build.container.container import BuildContainer
from phases.core.build.container.spec import ContainerSpec, InitContainerSpec
from phases.core.build.context import PhaseContext, PhaseOutput
from phases.core.cache import host_mounts, image_labels
from phases.core.config.mounts import image_volumes
from phases.core.engine.types import Image
from phases.core.errors import EngineError, EngineUnreachable, HabitatError, PhaseTimeout, StepError
from phases.core.files.phase_log import PhaseLog
from phases.core.secrets.ssh_agent import AgentRelay
from phases.registry import makes_mount_points

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from phases.core.engine.types import ImageConfig
    from phases.protocol import Step

    #: The labels of a snapshot, given the id of the image it was made from and the seconds it took.
    Labels = Callable[[str, float], dict[str, str]]


def run_phase(work: PhaseContext, parent: str, plan: Sequence[Step], labels: Labels) -> Image | None:
    """Carry out the steps of a phase.

    Nothing is committed unless every step succeeded. The container is left to the next phase, or removed.

    Args:
        work: The phase.
        parent: The image that it starts from, "" if the first step brings one.
        plan: The steps.
        labels: Returns the labels of the snapshot.

    Returns:
        The committed image, None for a phase without snapshot.
    """
    started = time.monotonic()
    with PhaseLog(work.log) as log:
        executor = _PhaseExecutor(work, log, parent, plan)
        try:
            if parent and work.pool.is_empty:
                layers.check(work.engine, work.habitat, executor.image, work.phase)
            executor.mount_volumes()
            executor.mount_caches()
            started = time.monotonic()  # waiting for others is no part of it
            for step in plan:
                executor.run(step)
            if work.phase.NAME == "base":
                layers.check(work.engine, work.habitat, executor.image)
            image = None
            if work.phase.SNAPSHOT:
                snapshot_labels = labels(parent or executor.image.id, time.monotonic() - started)
                image = Image(executor.commit(snapshot_labels), (), snapshot_labels)
            executor.leave_container()
        except HabitatError as error:
            if isinstance(error, EngineError):
                # The engine's message has neither the place nor a remedy.
                error.where = error.where or work.place
                error.remedy = error.remedy or f"run the same command again; log: {work.shown_log}"
            executor.keep(error, time.monotonic() - started)
            raise
        finally:
            executor.close()
    return image


class _PhaseExecutor:
    """Runs the steps of one phase, and holds their container and the image config that they change."""

    def __init__(self, work: PhaseContext, log: PhaseLog, parent: str, plan: Sequence[Step]) -> None:
        self.work = work
        self._plan = plan
        self._output = PhaseOutput(work, log)
        self._commands = CommandRunner(work, self._output)
        self._image: ImageConfig | None = None
        self._container: BuildContainer | None = None
        self._init: InitCommand | None = None  # of the container
        self._agent: AgentRelay | None = None
        self._step: Step | None = None  # the one that runs
        self._volumes = host_mounts.mounts_of(work.habitat)  # up to phase 6 as the config has them
        self._mounts_volumes = bool(work.binds)
        self._caches: tuple[cache_volumes.CacheMount, ...] = ()
        self._locks = ExitStack()  # of the caches
        self._temporary_tag = ""  # removed when the phase ends
        if parent:
            self._start_from(parent, "the snapshot that it starts from")

    @property
    def image(self) -> ImageConfig:
        """The image the phase starts from, with what its SetImageConfig steps changed."""
        assert self._image, "no step brought an image"
        return self._image

    def _start_from(self, reference: str, called: str = "") -> None:
        image = self.work.engine.image_config(reference)
        if image is None:
            problem = f"{called or f'image {reference}'} is gone"
            raise EngineError(problem, where=self.work.place, remedy="run the same command again")
        image_volumes.check(self.work.habitat, image.volumes)
        self._image = image

    def mount_volumes(self) -> None:
        """Make the mount points of volumes in the first phase that has them, and mount them for commands."""
        work = self.work
        if not work.binds and not (work.habitat.volumes and makes_mount_points(work.phase)):
            return
        self._volumes = volume_mounts.resolved(work, self.image)
        if not makes_mount_points(work.phase):
            return
        self._mounts_volumes = False
        volume_mounts.make(work, self.image, self.container)
        if self._volumes and any(isinstance(step, protocol.Run) for step in self._plan):
            self._continue_from_container()
            self._mounts_volumes = True

    def _continue_from_container(self) -> None:
        """Let the next container of the phase begin with the files of this one."""
        # As with caches, this label makes it possible to find the image of a killed run.
        label = f"LABEL {image_labels.LABEL_NAME}={self.work.engine_name}"
        self._image = replace(self.image, id=self.container.commit([label]))
        self.leave_container()

    def mount_caches(self) -> None:
        """Mount the phase's caches, each locked as the config says while commands may use it."""
        work = self.work
        if not work.caches:
            return
        self._image, self._caches = cache_volumes.prepared(work, self.image)
        if any(isinstance(step, protocol.Run) for step in self._plan):
            assert work.locks
            self._locks.enter_context(cache_locks.held(work.locks, self._caches, work.notice))
        self._commands.restart_clock()

    def run(self, step: Step) -> None:
        self._step = step
        match step:
            case protocol.FromImage():
                base_image.pull(self.work, step, self._output.write)
                self._start_from(step.reference)
                base_image.report_on_build(self.work, step, self.image)
            case protocol.FromDockerfile():
                self._temporary_tag = image_labels.dockerfile_tag(self.work.engine_name)
                self._start_from(base_image.build(self.work, step, self._output.line))
            case protocol.Run():
                self._run_command(step)
            case protocol.StartInit():
                self._start_init(step)
            case protocol.Copy():
                steps.copy(self.container, step)
            case protocol.CopyRepository():
                steps.copy_repository(self.container, step, self.work)
            case protocol.SetImageConfig():
                self._set_image_config(step)
            case protocol.RequirePaths():
                steps.require_paths(self.container, step, self.work.habitat.user)
        self._step = None

    def _run_command(self, step: protocol.Run) -> None:
        try:
            self._commands.run(step, self.container, self.image.workdir)
        except PhaseTimeout:
            raise
        except StepError as error:
            if self._init and (ended := self._init.end_error()):
                raise ended from error
            raise

    def _start_init(self, step: protocol.StartInit) -> None:
        if step.keeps:
            self._continue_from_container()
        if self._container:
            self._container.remove()
        self._container = BuildContainer(self.work, InitContainerSpec(self.work, self.image, self._volumes))
        self._init = InitCommand(self.work, self._output, self._commands, self._container, step.origin)
        self._init.start()

    def _set_image_config(self, step: protocol.SetImageConfig) -> None:
        image = image_config.changed(self.image, step)
        if step.env:
            image_config.add_to_profile(self.container, {name: image.env[name] for name in step.env})
        if step.identity:
            image_volumes.check(self.work.habitat, image.volumes, self.container.users.home(self.work.habitat.user))
            image = image_config.with_identity(image, self.container, self.work.habitat, step.identity)
        self._image = image

    @property
    def container(self) -> BuildContainer:
        """The container. It is created with the environment that all SetImageConfig steps give the image."""
        if not self._container:
            env = image_config.resolved_env(
                self.image, (step for step in self._plan if isinstance(step, protocol.SetImageConfig))
            )
            if step := next((step for step in self._plan if isinstance(step, protocol.Run) and step.known_hosts), None):
                self._agent = AgentRelay(self.work.log.parent, step.origin)
            agent = self._agent.bind if self._agent else None
            mounts = [cache.mount for cache in self._caches]
            spec = ContainerSpec(
                self.work, self.image, env, agent, mounts, self._volumes, is_mounted=self._mounts_volumes
            )
            self._container = BuildContainer(self.work, spec)
        return self._container

    def commit(self, labels: dict[str, str]) -> str:
        """Commit the container. Return the id of the image."""
        return self.container.commit(image_config.commit_changes(self.image, labels))

    def leave_container(self) -> None:
        """Leave the container to the next phase."""
        if self._container:
            self._container.leave()
            self._container = None

    def close(self) -> None:
        """Release what the phase has. If a tag can't be removed, the next run does that."""
        if self._agent:
            self._agent.close()
        if self._container:
            self._container.remove()
        self._locks.close()
        try:
            if self._temporary_tag:
                self.work.engine.untag(self._temporary_tag)
        except EngineUnreachable:
            pass  # the next request reports it
        except EngineError as error:
            text = f"{error}: the next run that builds {self.work.habitat.name} does that"
            self.work.emit(events.Notice(self.work.habitat.name, text, warning=True))

    def keep(self, error: HabitatError, seconds: float) -> None:
        """Keep the container of the phase, which failed with `error`, as an image for `habitat debug`."""
        work = self.work
        if work.keep is None or build_failure.is_elsewhere(error):
            return
        if self._container is None or (isinstance(error, EngineError) and not self._container.id):
            build_failure.forget_older(work)
            return
        labels = image_labels.labels(work.engine_name, work.phase, self.image.id, seconds)
        labels |= build_failure.describe(work, self._step, error, self._commands.folder, self._caches).labels()
        build_failure.keep(work, error, lambda: self.commit(labels))
