"""The state of habitats: their phases, containers, sizes and base images. Changes nothing."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, TypeAlias

from phases.core.build import ownership
from phases.core.build.ownership import LABEL_RUN, container_name
from phases.core.cache import image_names
from phases.core.errors import EngineError, EngineUnreachable, HabitatError, printable
from phases.core.files import safe_open
from phases.core.report import plan
from phases.core.report.disk_usage import Disk
from phases.core.runtime.session.presence import Presence

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path

    from phases.core.engine.protocol import Container
    from phases.core.project import Project
    from phases.protocol import Phase

#: new: never built. unknown: the config is broken, or no engine answers.
State: TypeAlias = Literal["cached", "stale", "failed", "new", "unknown"]

# Bytes of a Dockerfile that are read.
_LONGEST = 1_000_000

_FROM = re.compile(r"^\s*FROM\s+(?:--\S+\s+)*(\S+)(?:\s+AS\s+(\S+))?\s*$", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True)
class PhaseState:
    """The state of a phase. `reason` is why it would run; "" if it only runs because a phase before it does."""

    id: int
    name: str
    state: State
    reason: str = ""


@dataclass(frozen=True)
class ContainerState:
    """The state of a habitat's container.

    Args:
        name: Its name.
        running: It runs.
        since: When it was started; if it doesn't run, when it ended.
        pids: The processes of doit that use it.
    """

    name: str
    running: bool
    since: datetime | None
    pids: Sequence[int]


@dataclass(frozen=True)
class Base:
    """The base image of a habitat.

    Args:
        reference: As in the config, or in FROM of the Dockerfile; "" if that isn't known.
        dockerfile: The habitat has a Dockerfile.
        id: Its id, "" if the engine doesn't have it.
        created: When it was built.
    """

    reference: str
    dockerfile: bool
    id: str = ""
    created: datetime | None = None


@dataclass(frozen=True)
class HabitatState:
    """The state of a habitat.

    Args:
        name: The habitat.
        description: As in its config.
        error: The error in its config, "" for none.
        phases: The state of each phase.
        base: Its base image, None if the config is broken.
        container: Its container, None for none.
        set_aside: Names of its other containers.
        bytes: What removing all its images would free, None if no engine answers.
    """

    name: str
    description: str
    error: str
    phases: Sequence[PhaseState]
    base: Base | None
    container: ContainerState | None
    set_aside: Sequence[str]
    bytes: int | None

    @property
    def first(self) -> PhaseState | None:
        """The phase with which a build would begin, None if all are up to date."""
        return next((phase for phase in self.phases if phase.state in ("stale", "failed", "new")), None)


@dataclass(frozen=True)
class Overview:
    """The state of habitats.

    Args:
        engine: The engine's address, "" if it doesn't answer.
        error: Why the engine doesn't answer, "" if it does.
        bytes: The size of the habitats' images and of those below them, each layer counted once.
        habitats: The state of each.
    """

    engine: str
    error: str
    bytes: int | None
    habitats: Sequence[HabitatState]


def overview(project: Project, names: Sequence[str]) -> Overview:
    """Return the state of the named habitats.

    Raises:
        EngineError: The engine answers with an error. If it doesn't answer, the result says so.
    """
    try:
        return _Survey(project).overview(names)
    except EngineUnreachable as error:
        states = [_without_engine(project, name) for name in names]
        return Overview("", str(error), None, states)


def _without_engine(project: Project, name: str) -> HabitatState:
    description, error = _described(project, name)
    base = None if error else _base(project, name)
    return HabitatState(printable(name), description, error, _unknown(project, name), base, None, (), None)


def _unknown(project: Project, name: str) -> list[PhaseState]:
    return [PhaseState(phase.ID, phase.NAME, "unknown") for phase in project.phases(name)]


def _described(project: Project, name: str) -> tuple[str, str]:
    """Return a habitat's description and its error."""
    try:
        return printable(project.habitat(name).description), ""
    except HabitatError as error:
        return "", str(error)


class _Survey:
    """The state of habitats on an engine, with few requests for all of them.

    Raises:
        EngineUnreachable: The engine doesn't answer. Raised from any method.
    """

    def __init__(self, project: Project) -> None:
        self._project = project
        self._containers: dict[str, list[Container]] = {}
        for container in ownership.containers(project):
            self._containers.setdefault(container.labels[LABEL_RUN], []).append(container)
        self._disk = Disk(project.engine, project.inventory.all())

    def overview(self, names: Sequence[str]) -> Overview:
        bases = {name: self._base(name) for name in names}
        owners = self._disk.owners(base.id for base in bases.values() if base)
        only: dict[str, list[str]] = {name: [] for name in names}
        for layer, having in owners.items():
            if len(having) == 1 and (owner := next(iter(having))) in only:
                only[owner].append(layer)
        total = self._disk.size(layer for layer, having in owners.items() if not having.isdisjoint(names))
        states = [self._state(name, bases[name], self._disk.size(only[name])) for name in names]
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
        containers = self._containers.get(name, ())
        own = next((container for container in containers if container.name == container_name(name)), None)
        aside = sorted(printable(container.name) for container in containers if container is not own)
        return HabitatState(printable(name), description, error, phases, base, self._container(name, own), aside, size)

    def _container(self, name: str, listed: Container | None) -> ContainerState | None:
        container = self._project.engine.container(listed.id) if listed else None
        if container is None:
            return None
        pids = Presence(self._project.state_folder(name)).pids(container.id) if container.running else ()
        return ContainerState(container.name, container.running, container.since, pids)

    def _base(self, name: str) -> Base | None:
        try:
            base = _base(self._project, name)
        except HabitatError:
            return None  # the habitat's state has the error
        try:
            image = self._project.inventory.id_of(base.reference) or "" if base.reference else ""
        except EngineUnreachable:
            raise
        except EngineError:  # the reference is not a valid name
            image = ""
        return replace(base, id=image, created=self._disk.created(image))


def _base(project: Project, name: str) -> Base:
    """Return a base image as far as the config says."""
    habitat = project.habitat(name)
    if habitat.has_dockerfile:
        return Base(printable(_from(project.root / "habitats" / name / "Dockerfile")), dockerfile=True)
    return Base(printable(habitat.base_image), dockerfile=False)


def _from(dockerfile: Path) -> str:
    """Return the image that the last stage of a Dockerfile starts from, "" if a variable names it or none does."""
    try:
        text = (safe_open.read(dockerfile, _LONGEST) or b"").decode(errors="replace")
    except OSError:
        return ""
    stages: dict[str, str] = {}
    image = ""
    for image, stage in _FROM.findall(text):
        image = stages.get(image.lower(), image)  # noqa: PLW2901 (the base of the stage instead of its name)
        stages[stage.lower()] = image
    return "" if "$" in image or image == "scratch" else image


def _phases(project: Project, name: str) -> list[PhaseState]:
    assessment = project.assessments.look(name)
    states = []
    for phase in project.phases(name):
        state = _state(project, name, phase) if phase.NAME in assessment.stale else "cached"
        states.append(PhaseState(phase.ID, phase.NAME, state, _reason(project, name, phase, state)))
    return states


def _state(project: Project, name: str, phase: Phase) -> State:
    """Return the state of a phase that would run."""
    failed = project.inventory.tagged(image_names.failed_tag(name, phase))
    if failed and failed.labels.get(image_names.LABEL_RESULT) == image_names.FAILED:
        return "failed"
    was_built = plan.is_known(project, name, phase) or project.slices.has_kept(name, phase)
    return "stale" if was_built else "new"


def _reason(project: Project, name: str, phase: Phase, state: State) -> str:
    if state == "failed":
        return f"it failed: doit debug:{printable(name)} opens a shell there"
    return next((reason.text for reason in plan.reasons(project, name, phase)), "")
