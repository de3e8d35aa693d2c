"""The state of habitats: their phases, containers, sizes and base images. Changes nothing."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

from phases.core import command_form
from phases.core.cache import dockerfile_references as references
from phases.core.cache import image_labels
from phases.core.errors import EngineError, EngineUnreachable, HabitatError, NotFound, printable
from phases.core.problems import with_count
from phases.core.report import plan
from phases.core.report.disk_usage import Disk
from phases.core.report.states import Base, ContainerState, HabitatState, Overview, PhaseState
from phases.core.runtime import own_containers
from phases.core.runtime.new_container import is_gated
from phases.core.runtime.orphans import orphans
from phases.core.runtime.own_containers import LABEL_RUN, container_name
from phases.core.runtime.persistence.volumes import LABEL_WORKSPACE
from phases.core.runtime.session.presence import Presence
from phases.core.runtime.workspace.notes import notes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from phases.core.engine.types import Container
    from phases.core.project import Project
    from phases.core.report.states import State
    from phases.protocol import Phase


def overview(project: Project, names: Sequence[str], *, with_orphans: bool = False) -> Overview:
    """Return the state of the named habitats.

    Args:
        project: The project.
        names: The habitats.
        with_orphans: Whether to include what is left of habitats that were removed or renamed.

    Raises:
        EngineError: The engine answers with an error. If it doesn't answer, the result says so.
    """
    try:
        survey = _Survey(project).overview(names)
        return replace(survey, orphans=orphans(project)) if with_orphans else survey
    except EngineUnreachable as error:
        states = [_without_engine(project, name) for name in names]
        return Overview("", str(error), None, states)


def _without_engine(project: Project, name: str) -> HabitatState:
    description, error = _described(project, name)
    base = None if error else _base(project, name, lambda: "")
    return HabitatState(printable(name), description, error, _unknown(project, name), base, None, (), None)


def _unknown(project: Project, name: str) -> list[PhaseState]:
    return [PhaseState(phase.ID, phase.NAME, "unknown") for phase in project.phases(name)]


def _described(project: Project, name: str) -> tuple[str, str]:
    """Return a habitat's description and its error."""
    try:
        return printable(project.habitat(name).description), ""
    except HabitatError as error:
        return "", with_count(error)


class _Survey:
    """The state of habitats on an engine, with few requests for all of them.

    Raises:
        EngineUnreachable: The engine doesn't answer. Raised from any method.
    """

    def __init__(self, project: Project) -> None:
        self._project = project
        self._containers: dict[str, list[Container]] = {}
        for container in own_containers.containers(project):
            self._containers.setdefault(container.labels[LABEL_RUN], []).append(container)
        self._platform = cache(project.engine.platform)  # asked for once, and only for a Dockerfile
        self._workspaces = project.engine.volumes(label=LABEL_WORKSPACE)
        self._disk = Disk(project.engine, project.image_index.all())

    def _of(self, name: str) -> str:
        return self._project.names.of(name)

    def overview(self, names: Sequence[str]) -> Overview:
        bases = {name: self._base(name) for name in names}
        owners = self._disk.owners(base.id for base in bases.values() if base)
        only: dict[str, list[str]] = {self._of(name): [] for name in names}
        for layer, having in owners.items():
            if len(having) == 1 and (owner := next(iter(having))) in only:
                only[owner].append(layer)
        total = self._disk.size(layer for layer, having in owners.items() if not having.isdisjoint(only))
        states = [self._state(name, bases[name], self._disk.size(only[self._of(name)])) for name in names]
        return Overview(self._project.engine.address, "", total, states)

    def _state(self, name: str, base: Base | None, size: int) -> HabitatState:
        description, error = _described(self._project, name)
        phases = _unknown(self._project, name)
        if not error:
            try:
                phases = _phases(self._project, name)
            except EngineUnreachable:
                raise
            except HabitatError as broken:
                error = str(broken)
        containers = self._containers.get(self._of(name), ())
        own = next((container for container in containers if container.name == container_name(self._of(name))), None)
        others = sorted((c for c in containers if c is not own), key=lambda container: container.name)
        aside = [printable(container.name) for container in others]
        up = [printable(container.name) for container in others if container.running]
        current = self._container(name, own)
        texts = [] if error else [*notes(self._project, name, self._workspaces), *self._blocked(name, own)]
        state = HabitatState(printable(name), description, error, phases, base, current, aside, size, up, texts)
        times = (own_containers.set_aside_at(container.name) for container in others)
        since = min((time for time in times if time), default=None)
        return replace(state, aside_bytes=sum(map(self._changed_bytes, others)), aside_since=since)

    def _blocked(self, name: str, own: Container | None) -> list[str]:
        if own is None or not is_gated(own):
            return []
        from phases.core.network import access_log, blocked  # imported late: many habitats have no allowlist

        text = blocked.summary(name, access_log.read(self._project, name).blocked)
        return [text] if text else []

    def _changed_bytes(self, container: Container) -> int:
        try:
            return self._project.engine.changed_bytes(container.id)
        except NotFound:  # it was removed meanwhile
            return 0

    def _container(self, name: str, listed: Container | None) -> ContainerState | None:
        container = self._project.engine.container(listed.id) if listed else None
        if container is None:
            return None
        pids = Presence(self._project.state_folder(name)).pids(container.id) if container.running else ()
        return ContainerState(container.name, container.running, container.since, pids)

    def _base(self, name: str) -> Base | None:
        try:
            base = _base(self._project, name, self._platform)
        except HabitatError:
            return None  # the habitat's state has the error
        try:
            image = self._project.image_index.id_of(base.reference) or "" if base.reference else ""
        except EngineUnreachable:
            raise
        except EngineError:  # the reference is not a valid name
            image = ""
        return replace(base, id=image, created=self._disk.created(image))


def _base(project: Project, name: str, platform: Callable[[], str]) -> Base:
    """Return a base image as far as the config says. platform: returns that of the engine, "" if it isn't known."""
    habitat = project.habitat(name)
    if habitat.has_dockerfile:
        return Base(printable(references.base(references.dockerfile_text(habitat), platform())), dockerfile=True)
    return Base(printable(habitat.base_image), dockerfile=False)


def _phases(project: Project, name: str) -> list[PhaseState]:
    assessment = project.assessments.look(name)
    states = []
    for phase in project.phases(name):
        state = _state(project, name, phase) if phase.NAME in assessment.stale else "cached"
        states.append(PhaseState(phase.ID, phase.NAME, state, _reason(project, name, phase, state)))
    return states


def _state(project: Project, name: str, phase: Phase) -> State:
    """Return the state of a phase that would run."""
    failed = project.image_index.tagged(image_labels.failed_tag(project.names.of(name), phase))
    if failed and failed.labels.get(image_labels.LABEL_RESULT) == image_labels.FAILED:
        return "failed"
    was_built = plan.is_known(project, name, phase) or project.slices.has_kept(name, phase)
    return "stale" if was_built else "new"


def _reason(project: Project, name: str, phase: Phase, state: State) -> str:
    if state == "failed":
        return f"it failed: `{command_form.verb('debug', printable(name))}` opens a shell there"
    return next((reason.text for reason in plan.reasons(project, name, phase)), "")
