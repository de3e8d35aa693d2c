"""How the habitats are: their phases, containers, sizes and bases. Looks, and touches nothing."""

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
from phases.core.runtime.presence import Presence

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path

    from phases.core.engine.protocol import Container
    from phases.core.project import Project
    from phases.protocol import Phase

#: new: never built; unknown: of a habitat whose config is broken, or where no engine answers.
State: TypeAlias = Literal["cached", "stale", "failed", "new", "unknown"]

# Bytes of a Dockerfile that are looked at.
_LONGEST = 1_000_000

_FROM = re.compile(r"^\s*FROM\s+(?:--\S+\s+)*(\S+)(?:\s+AS\s+(\S+))?\s*$", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True)
class PhaseState:
    """reason: why it would run; "" where it would not, or only because one before it does."""

    id: int
    name: str
    state: State
    reason: str = ""


@dataclass(frozen=True)
class ContainerState:
    """since: when it was started, or ended where it doesn't run; pids: of the doit runs that are in it."""

    name: str
    running: bool
    since: datetime | None
    pids: Sequence[int]


@dataclass(frozen=True)
class Base:
    """The image that a habitat rests on. reference: as the config, or the Dockerfile's FROM, has it, ""
    where that isn't known; id: "" where the engine doesn't have it.
    """

    reference: str
    dockerfile: bool
    id: str = ""
    created: datetime | None = None


@dataclass(frozen=True)
class HabitatState:
    """error: what is wrong with its config, "" where nothing is; container: None where there is none;
    set_aside: names of its other containers; bytes: what removing all its images would free, None where
    the engine didn't tell.
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
        """The phase that a build would begin with."""
        return next((phase for phase in self.phases if phase.state in ("stale", "failed", "new")), None)


@dataclass(frozen=True)
class Overview:
    """error: why the engine doesn't answer, "" where it does; bytes: what the images of these habitats
    take, with those they rest on, each layer once.
    """

    engine: str
    error: str
    bytes: int | None
    habitats: Sequence[HabitatState]


def overview(project: Project, names: Sequence[str]) -> Overview:
    """Raises EngineError where the engine answers, but with an error."""
    try:
        return _Survey(project).overview(names)
    except EngineUnreachable as error:
        states = [_unreached(project, name) for name in names]
        return Overview("", str(error), None, states)


def _unreached(project: Project, name: str) -> HabitatState:
    description, error = _described(project, name)
    base = None if error else _base(project, name)
    return HabitatState(printable(name), description, error, _unknown(project, name), base, None, (), None)


def _unknown(project: Project, name: str) -> list[PhaseState]:
    return [PhaseState(phase.ID, phase.NAME, "unknown") for phase in project.phases(name)]


def _described(project: Project, name: str) -> tuple[str, str]:
    """What a habitat is, and what is wrong with it."""
    try:
        return printable(project.habitat(name).description), ""
    except HabitatError as error:
        return "", str(error)


class _Survey:
    """What was asked of the engine once for all habitats. Raises EngineUnreachable when none answers."""

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
        found = self._containers.get(name, ())
        own = next((container for container in found if container.name == container_name(name)), None)
        aside = sorted(printable(container.name) for container in found if container is not own)
        return HabitatState(printable(name), description, error, phases, base, self._container(name, own), aside, size)

    def _container(self, name: str, listed: Container | None) -> ContainerState | None:
        found = self._project.engine.container(listed.id) if listed else None
        if found is None:
            return None
        pids = Presence(self._project.state_folder(name)).pids(found.id) if found.running else ()
        return ContainerState(found.name, found.running, found.since, pids)

    def _base(self, name: str) -> Base | None:
        try:
            base = _base(self._project, name)
        except HabitatError:
            return None  # which is told of the habitat
        try:
            image = self._project.inventory.id_of(base.reference) or "" if base.reference else ""
        except EngineUnreachable:
            raise
        except EngineError:  # it is no name of an image
            image = ""
        return replace(base, id=image, created=self._disk.created(image))


def _base(project: Project, name: str) -> Base:
    """As far as the config tells."""
    habitat = project.habitat(name)
    if habitat.has_dockerfile:
        return Base(printable(_from(project.root / "habitats" / name / "Dockerfile")), dockerfile=True)
    return Base(printable(habitat.base_image), dockerfile=False)


def _from(dockerfile: Path) -> str:
    """The image that what a Dockerfile makes rests on, "" where a variable or nothing says."""
    try:
        text = (safe_open.read(dockerfile, _LONGEST) or b"").decode(errors="replace")
    except OSError:
        return ""
    stages: dict[str, str] = {}
    image = ""
    for image, stage in _FROM.findall(text):
        image = stages.get(image.lower(), image)  # noqa: PLW2901 (what a stage rests on, not its name)
        stages[stage.lower()] = image
    return "" if "$" in image or image == "scratch" else image


def _phases(project: Project, name: str) -> list[PhaseState]:
    assessment = project.look(name)
    states = []
    for phase in project.phases(name):
        state = _state(project, name, phase) if phase.NAME in assessment.stale else "cached"
        states.append(PhaseState(phase.ID, phase.NAME, state, _reason(project, name, phase, state)))
    return states


def _state(project: Project, name: str, phase: Phase) -> State:
    """Of one that would run."""
    failed = project.inventory.tagged(image_names.failed_tag(name, phase))
    if failed and failed.labels.get(image_names.LABEL_RESULT) == image_names.FAILED:
        return "failed"
    was_built = plan.is_known(project, name, phase) or project.slices.has_kept(name, phase)
    return "stale" if was_built else "new"


def _reason(project: Project, name: str, phase: Phase, state: State) -> str:
    if state == "failed":
        return f"it failed: doit debug:{printable(name)} opens a shell there"
    return next((reason.text for reason in plan.reasons(project, name, phase)), "")
