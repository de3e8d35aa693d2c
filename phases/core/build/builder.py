"""Builds the phases of a project's habitats, one at a time for each habitat, and ends the run."""

from __future__ import annotations

import time
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

from msgspec.structs import replace

from phases.core import events
from phases.core.build import credential_files, warnings
from phases.core.build.agreement import check_trust
from phases.core.build.container import layers
from phases.core.build.container.pool import ContainerPools
from phases.core.build.context import PhaseContext
from phases.core.build.leftovers import clear_at_end, remove_leftovers
from phases.core.build.lock import HeldLocks
from phases.core.build.publish import PhaseResult, Publisher
from phases.core.build.shared_builds import SharedBuilds, SharedSnapshots
from phases.core.cache import host_mounts, image_labels
from phases.core.cache.image_files import KnownFiles
from phases.core.cache.stamps import task_name
from phases.core.errors import HabitatError, NotFound, SourceChanged
from phases.core.files.phase_log import PhaseLog
from phases.registry import PHASES, mounts_caches, named

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from phases.core.model import Habitat, TestScript
    from phases.core.project import Project
    from phases.protocol import Phase, Step


class Builder:
    """The builds of one run of a project."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self._pools = ContainerPools(project)
        self._locks = HeldLocks(project, self._pools.clear)
        self._known_files = KnownFiles(project.state_folder)
        self._snapshots = SharedSnapshots(project)
        self._shared = SharedBuilds(project, self._snapshots)
        self._publisher = Publisher(project, self._locks, self._snapshots)

    def build(self, name: str, phase: Phase) -> PhaseResult:
        """Build one phase, whose predecessors are up to date.

        If another run builds the habitat, this waits for it, and may then find the phase built.

        Raises:
            HabitatError: The phase failed, or can't be built.
        """
        # If a signal ends this, the phase stays recorded, since `close` returns where the run was.
        self._locks.begin(name, phase)
        try:
            result = self._build(name, phase)
            if phase is PHASES[-1]:
                # Before others may build: a start of the habitat uses the image that is there now.
                self.project.assess(name)
        except HabitatError as error:
            if isinstance(error, SourceChanged) and error.path:
                self.project.habitat(name).sources.forget(error.path)
            self._locks.end(name)
            self._locks.release(name)
            raise
        self._locks.end(name)
        if phase is PHASES[-1]:
            self._locks.release(name)
        return result

    def _build(self, name: str, phase: Phase) -> PhaseResult:
        project = self.project
        if self._built_by_another_run(name, phase):
            project.bus.emit(events.Notice(name, f"{phase.NAME} was built by another run"))
            return PhaseResult(project.assess(name).hashes[phase.NAME], project.assessments.parent_id(name, phase), 0.0)
        self._check_predecessors(name, phase)
        try:
            if shared := self._take_over(name, phase):
                return shared
            with self._shared.lock(name, phase) as is_news:
                if is_news and (shared := self._take_over(name, phase)):
                    return shared
                return self._run(name, phase)
        except HabitatError:
            project.stamps.drop(task_name(phase, name))
            raise

    def _built_by_another_run(self, name: str, phase: Phase) -> bool:
        """Take the build lock, unless this run has it. Return whether another run has built the phase meanwhile."""
        if name in self._locks:
            return False
        was_stale = phase.NAME in self.project.assess(name).stale
        self._locks.acquire(name)
        self.project.maker.check()  # the wait for the lock may have been long
        remove_leftovers(self.project, name)
        self.project.names.confirm(name, lambda text: self.project.bus.emit(events.Notice(name, text)))
        stale = self.project.assess(name).stale
        for text in warnings.before_build(self.project.habitat(name), stale):
            self.project.bus.emit(events.Notice(name, text, warning=True))
        return was_stale and phase.NAME not in stale

    def _check_predecessors(self, name: str, phase: Phase) -> None:
        """Check that all earlier phases are up to date, because the labels of this phase's image will say so.

        doit has checked that, unless another run has built in between, or doit was told to run a single task.
        """
        stale = self.project.assess(name).stale
        for before in self.project.phases(name):
            if before is phase:
                return
            if before.NAME in stale:
                raise HabitatError(
                    f"{before.NAME} has to run first ({stale[before.NAME]})",
                    where=f"{name}: {phase.NAME}",
                    remedy="run the same command again (without --single, if you gave that)",
                )

    def _take_over(self, name: str, phase: Phase) -> PhaseResult | None:
        """Tag a snapshot of another habitat as this habitat's. Return None if there is none, or it was just removed."""
        project = self.project
        shared = self._snapshots.shareable(name).get(phase.NAME)
        if shared is None:
            return None
        if phase.NAME == "base" and (image := project.engine.image_config(shared.image.id)):
            layers.check(project.engine, project.habitat(name), image)
        with PhaseLog(project.log_path(name, phase)) as log:
            log.write(f"nothing was run: the snapshot is that of {shared.habitat}")
        try:
            self._publisher.publish(name, phase, shared.image, project.assessments.parent_id(name, phase))
        except NotFound:  # its own habitat can be cleaned without a lock of this one
            project.assessments.refresh(name)
            return None
        self._shared.note(name, follows=True)
        project.slices.keep(project.habitat(name), phase)
        tag = image_labels.snapshot_tag(project.names.of(name), phase)
        project.bus.emit(events.PhaseShared(name, phase.NAME, shared.habitat, tag, shared.image.id))
        digest, seconds = project.slices.hash(project.habitat(name), phase), image_labels.seconds(shared.image.labels)
        return PhaseResult(digest, project.assessments.parent_id(name, phase), seconds)

    def _run(self, name: str, phase: Phase) -> PhaseResult:
        # Here, since a run that only takes over snapshots needs none of it.
        from phases.core.build.executor import run_phase

        project, habitat = self.project, self.project.habitat(name)
        self._shared.note(name, follows=False)
        check_trust(project, habitat, phase)
        project.bus.emit(events.PhaseStarted(name, phase.NAME))
        if left_out := credential_files.notice(habitat, phase):
            project.bus.emit(events.Notice(name, left_out))
        started = time.monotonic()
        parent = project.assessments.parent_id(name, phase)
        self._publisher.check_lock(name, phase, parent)
        labels = self._publisher.labels(habitat, phase)
        with project.engine.timeout.in_phase():
            image = run_phase(self._context(habitat, phase), parent, phase.plan(habitat), labels)
        self._publisher.publish(name, phase, image, parent)
        project.slices.keep(project.habitat(name), phase)
        self._known_files.save(name)
        result = PhaseResult(project.slices.hash(project.habitat(name), phase), parent, time.monotonic() - started)
        tag = image_labels.snapshot_tag(project.names.of(name), phase) if image else ""
        project.bus.emit(events.PhaseFinished(name, phase.NAME, result.seconds, tag, image.id if image else ""))
        return result

    def run_tests(self, name: str, tests: tuple[TestScript, ...]) -> None:
        """Run some tests of a habitat, whose earlier phases are up to date. Phase test is not recorded as done.

        Raises:
            HabitatError: A test failed, or they can't be run.
        """
        habitat = replace(self.project.habitat(name), tests=tests)
        plan = named("test").plan(habitat)
        self.try_out(habitat, plan, lambda context: replace(context, keep=None, forget=None))

    def try_out(self, habitat: Habitat, plan: Sequence[Step], adapt: Callable[[PhaseContext], PhaseContext]) -> None:
        """Carry out steps in place of those of phase test, and record nothing. Raises HabitatError.

        Args:
            habitat: The habitat, which may differ from that of the config. Its phases before test are up to date.
            plan: The steps.
            adapt: Returns the context of the steps, given that of phase test.
        """
        from phases.core.build.executor import run_phase

        project, phase, name = self.project, named("test"), habitat.name
        self._locks.begin(name, phase)
        try:
            self._built_by_another_run(name, phase)
            self._check_predecessors(name, phase)
            check_trust(project, habitat, phase)
            parent = project.assessments.parent_id(name, phase)
            with project.engine.timeout.in_phase():
                run_phase(adapt(self._context(habitat, phase)), parent, plan, lambda *_: {})
        except HabitatError:
            self._locks.end(name)
            self._locks.release(name)
            raise
        self._locks.end(name)  # as in `build`, not if a signal ends this
        self._locks.release(name)

    def _context(self, habitat: Habitat, phase: Phase) -> PhaseContext:
        project, name = self.project, habitat.name
        return PhaseContext(
            habitat=habitat,
            phase=phase,
            engine=project.engine,
            locks=project.locks,
            emit=project.bus.emit,
            log=project.log_path(name, phase),
            engine_name=project.names.of(name),
            container_name=project.temporary_containers.build_name(name, phase),
            draft_name=project.temporary_containers.draft_name(name),
            remover=self._pools.remover,
            binds=host_mounts.mounts_in(habitat, phase),
            caches=habitat.caches if mounts_caches(phase) else (),
            secrets=project.vault.values(habitat.secrets_of(phase.NAME)),
            known_files=self._known_files.of(name),
            maker=project.maker,
            pool=self._pools.of(name),
            keep=partial(self._publisher.keep_failed, name, phase),
            forget=partial(project.store.untag_failed, name),
        )

    def release(self, name: str) -> None:
        """Let other runs build a habitat."""
        self._locks.release(name)

    def release_idle(self) -> None:
        """Let other runs build the habitats that this run doesn't build now."""
        self._locks.release_idle()

    def close(self) -> list[str]:
        """End the run, also in the middle of a build, and remove its build containers. Returns the running tasks."""
        project = self.project
        project.maker.close()
        building = self._locks.building
        with ExitStack() as steps:  # the last one first; each is done, also if an earlier one is interrupted
            steps.callback(project.bus.close)
            steps.callback(project.connection.wait_for_tasks)
            steps.callback(self._pools.remover.wait, until_gone=bool(building))
            steps.callback(project.connection.close_locks)
            steps.callback(self._locks.release_all)
            # A phase that still waits for its lock has no container. There may be one of the run that holds the lock.
            held = filter(self._locks.is_held, building)  # when that is called
            steps.callback(clear_at_end, project, held, self._locks.check)
            steps.callback(project.cleanups.run_all)
        return [task_name(phase, name) for name, phase in building.items()]
