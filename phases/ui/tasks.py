"""Habitats as doit tasks: `PHASE:HABITAT` for each phase, `VERB:HABITAT` for each verb."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_from_bytes

from doit.dependency import UptodateCalculator
from doit.exceptions import TaskFailed

from phases.core.cache import image_names
from phases.core.cache.stamps import task_name
from phases.core.errors import HabitatError, printable
from phases.core.project import Project
from phases.registry import NAMES, PHASES, last_snapshot, named
from phases.ui.verbs import registry as verbs
from phases.ui.verbs.registry import VERBS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from phases.core.build.builder import Builder
    from phases.core.engine.protocol import Engine
    from phases.core.events import Event
    from phases.protocol import Phase
    from phases.ui.verbs.verb import Verb

# doit makes reporters and commands from their names and gives them nothing of ours; a process has
# one dodo.py, and so one project.
_opened: list[Project] = []
_builders: list[Builder] = []
_building = threading.Lock()
_listeners: list[Callable[[Event], None]] = []
_exit_codes: list[int] = []


def open_project(root: Path) -> Project:
    """The project that the reporter and the commands of this process speak about from now on."""
    shares = os.environ.get("HABITATS_SHARING") != "off"
    _builders.clear()
    _opened[:] = [Project(root, _connect, shares=shares, ask=_ask)]
    for listener in _listeners:
        _opened[0].bus.subscribe(listener)
    return _opened[0]


def listen(listener: Callable[[Event], None]) -> None:
    """Have the project of this process, which dodo.py opens later, tell its events."""
    _listeners[:] = [listener]


def unanswered() -> str:
    """What a person is told of a run that ended while the engine was silent; "" where it wasn't."""
    asked = _opened[0].unanswered if _opened else []
    return (
        f"the engine did not answer ({'; '.join(asked)}); the next run removes what that may have left" if asked else ""
    )


def current_project() -> Project:
    return _opened[0]


def current_builder() -> Builder:
    """Return what builds in this process. It is made, and its modules are loaded, when a phase has to be built."""
    with _building:
        if not _builders:
            from phases.core.build.builder import Builder

            _builders.append(Builder(current_project()))
        return _builders[0]


def close_run() -> list[str]:
    """End the run, also in the middle of a build. Returns the tasks that it was at. Raises HabitatError."""
    return _builders[0].close() if _builders else current_project().close()


def exit_code() -> int:
    """What the first verb to fail without being at fault, as a command may that it ran, has doit end with."""
    return next(filter(None, _exit_codes), 0)


def _connect() -> Engine:
    # Here, so that what has nothing to ask of an engine doesn't load what that takes.
    from phases.core.engine import select

    return select.connect()


def _ask(question: str, show: Callable[[], None]) -> bool | None:
    # Here, since few runs ask anything.
    from phases.ui.question import asked

    return asked(question, show)


def doit_config(project: Project) -> dict[str, Any]:
    return {
        "backend": "stamps",
        "dep_file": str(project.root / ".stamps"),
        "reporter": "habitats",
        "sort": "definition",
        "default_tasks": [task_name(PHASES[-1], _safe(name)) for name in project.names],
        # A habitat that fails stops no other.
        "continue": True,
        # Habitats build side by side with -n: threads share the engine's connection and the locks.
        "par_type": "thread",
        "verbosity": 2,
    }


def parse_task(task: str) -> tuple[str, str]:
    """`setup:hello` as ("setup", "hello"); ("", "") for what is neither a phase nor a verb."""
    kind, _, habitat = task.partition(":")
    return (kind, habitat) if habitat and (kind in NAMES or is_verb(kind)) else ("", "")


def is_verb(kind: str) -> bool:
    return kind in verbs.NAMES


def pipes(task: str) -> bool:
    """Return whether the output of a task is a command's own."""
    return any(verb.PIPES for verb in VERBS if parse_task(task)[0] == verb.NAME)


def builds(word: str) -> bool:
    """Return whether what a command line names is, or begins with, a build, as far as this word says."""
    return all(verb.BUILDS for verb in VERBS if parse_task(word)[0] == verb.NAME)


def habitat_tasks(project: Project) -> Iterator[dict[str, Any]]:
    """Groups in the order of the phases first, so that `doit list` shows the lifecycle."""
    names = project.names
    used = {phase.NAME for name in names for phase in project.phases(name)}
    for phase in PHASES:
        if phase.NAME in used:
            yield {"basename": phase.NAME, "name": None, "doc": phase.DESCRIPTION}
    for name in names:
        before: list[str] = []
        for phase in project.phases(name):
            yield _phase_task(project, name, phase, before)
            before = [task_name(phase, name)]
    for name in names:
        for verb in VERBS:
            yield _verb_task(project, name, verb)


def _safe(name: str) -> str:
    """doit refuses = in a task's name, takes * for a pattern, and prints whatever is in it; a folder
    called so is reported as broken, under this name.
    """
    if name.isprintable() and not set(name) & set("=*%"):
        return name
    return quote_from_bytes(os.fsencode(name), safe=" :")


def _phase_task(project: Project, name: str, phase: Phase, before: list[str]) -> dict[str, Any]:
    freshness = Freshness(project, name, phase)
    return {
        "basename": phase.NAME,
        "name": _safe(name),
        "actions": [(_run_phase, [name, phase, freshness])],
        "file_dep": [str(project.slices.path(name, phase).relative_to(project.root))],
        "task_dep": [_safe(task) for task in before],
        "uptodate": [freshness],
        "io": {"capture": False},
        "doc": phase.DESCRIPTION,
    }


def _verb_task(project: Project, name: str, verb: Verb) -> dict[str, Any]:
    return {
        "basename": f"{verb.NAME}:{_safe(name)}",
        "actions": [(_run_verb, [project, name, verb])],
        "task_dep": [task_name(PHASES[-1], _safe(name))] if verb.BUILDS else [],
        "params": list(verb.OPTIONS),
        "pos_arg": "words" if verb.WORDS else None,
        "io": {"capture": False},
        "doc": verb.DESCRIPTION,
    }


class HabitatFailed(TaskFailed):
    """A task's failure, with the error that a person is to read."""

    def __init__(self, error: HabitatError) -> None:
        super().__init__(str(error))
        self.error = error


class Freshness(UptodateCalculator):
    """Return whether a phase is up to date; its repr is the reason why not, which is what `doit info` prints.

    doit shows whatever an uptodate check raises as a traceback, so an error is kept for the task's
    action, which can fail with it.
    """

    def __init__(self, project: Project, name: str, phase: Phase) -> None:
        super().__init__()
        self.project = project
        self.habitat = name
        self.phase = phase
        self.reason = ""
        self.error: HabitatError | None = None
        self._dependencies: Any = None

    def setup(self, dep_manager: Any, tasks_dict: Any) -> None:
        super().setup(dep_manager, tasks_dict)
        self._dependencies = dep_manager

    def __call__(self, task: Any, values: dict[str, Any]) -> bool:
        self.reason, self.error = "", None
        try:
            assessment = self.project.assess(self.habitat)
            if self.phase.NAME in assessment.stale:
                # Here, since what is up to date has no reason to run, and needs nothing that finds one.
                from phases.core.report import plan

                self.reason = plan.reason(self.project, self.habitat, self.phase)
            if not self.reason and values.get("hash") != assessment.hashes[self.phase.NAME]:
                self._adopt(task, assessment.hashes[self.phase.NAME])
        except HabitatError as error:
            self.error, self.reason = error, str(error)
        return not self.reason

    def _adopt(self, task: Any, digest: str) -> None:
        """The engine has what no stamp tells of (a fresh clone, a killed run): record it."""
        self.project.slices.keep(self.project.habitat(self.habitat), self.phase)
        inventory, phases = self.project.inventory, self.project.phases(self.habitat)
        own = inventory.tagged(image_names.snapshot_tag(self.habitat, self.phase)) if self.phase.SNAPSHOT else None
        labels = own.labels if own else {}
        before = last_snapshot(phases, self.phase)
        rests_on = inventory.tagged(image_names.snapshot_tag(self.habitat, before)) if before else None
        task.values = {
            "hash": digest,
            "parent": labels.get(image_names.LABEL_PARENT) or (rests_on.id if rests_on else ""),
            "seconds": image_names.seconds(labels),
        }
        self._dependencies.save_success(task)

    def __repr__(self) -> str:
        return self.reason or "up to date"


def _run_phase(name: str, phase: Phase, freshness: Freshness) -> dict[str, object] | HabitatFailed:
    try:
        if freshness.error:
            raise freshness.error
        return current_builder().build(name, phase).values()
    except HabitatError as error:
        return HabitatFailed(error)


def _run_verb(project: Project, name: str, verb: Verb, **options: Any) -> bool | HabitatFailed:
    if _builders:
        _builders[0].release_idle()  # a verb can take hours, or may wait for a lock itself
    try:
        _exit_codes.append(verb.run(project, name, **options) or 0)
    except HabitatError as error:
        return HabitatFailed(error)
    return True


def description(project: Project, name: str) -> str:
    """A habitat in one line for `doit list`: what it is, or what is wrong with it."""
    try:
        return printable(project.habitat(name).description)
    except HabitatError as error:
        return f"broken: {error}"


def phase_named(kind: str) -> Phase | None:
    return named(kind) if kind in NAMES else None
