"""The parts of doit's tasks for `phases/dodo.py`, and the project of this process.

doit makes reporters and commands from their names and gives them nothing of ours. A process has
one project, which `current_project` returns.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_from_bytes

from doit.dependency import UptodateCalculator
from doit.exceptions import TaskFailed

from phases.core import layout
from phases.core.cache import image_labels
from phases.core.errors import HabitatError, printable
from phases.core.problems import with_count
from phases.core.project import Project
from phases.registry import NAMES, PHASES, last_snapshot, named
from phases.ui.verbs import registry as verbs
from phases.ui.verbs.registry import VERBS
from phases.ui.verbs.verb import SessionFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from phases.core.build.builder import Builder
    from phases.core.engine.protocol import Engine
    from phases.core.events import Event
    from phases.protocol import Phase
    from phases.ui.verbs.verb import Verb

_opened: list[Project] = []
_builders: list[Builder] = []
_building = threading.Lock()
_listeners: list[Callable[[Event], None]] = []
_exit_codes: list[int] = []


def open_project(root: Path) -> Project:
    """Open the project that the reporter and the commands of this process use from now on."""
    shares = os.environ.get("HABITATS_SHARING") != "off"
    _builders.clear()
    _opened[:] = [Project(root, _connect, shares=shares, ask=_ask)]
    for listener in _listeners:
        _opened[0].bus.subscribe(listener)
    return _opened[0]


def listen(listener: Callable[[Event], None]) -> None:
    """Subscribe to the events of the project that dodo.py opens later."""
    _listeners[:] = [listener]


def unanswered() -> str:
    """Return the line for a run that ended while the engine did not answer; "" where it answered."""
    requests = _opened[0].connection.unanswered if _opened else []
    if not requests:
        return ""
    return f"the engine did not answer ({'; '.join(requests)}); the next run removes what that may have left"


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
    """Return the exit code of the first verb whose command failed, 0 where none did."""
    return next(filter(None, _exit_codes), 0)


def _connect() -> Engine:
    from phases.core.engine import select  # here: not every run needs the engine

    return select.connect()


def _ask(question: str, show: Callable[[], None]) -> bool | None:
    from phases.ui.question import ask  # here: few runs ask a question

    return ask(question, show)


def doit_config(project: Project) -> dict[str, Any]:
    """Return DOIT_CONFIG, doit's settings for this project."""
    return {
        "backend": "stamps",
        "dep_file": str(layout.state_folder(project.root)),
        "reporter": "habitats",
        "sort": "definition",
        # One habitat's failure does not stop the others.
        "continue": True,
        # `doit -n` builds habitats in threads: they share the engine's connection and the locks.
        "par_type": "thread",
        "verbosity": 2,
    }


def parse_task(task: str) -> tuple[str, str]:
    """Return `setup:hello` as ("setup", "hello"), ("", "") for what is neither a phase nor a verb."""
    kind, _, habitat = task.partition(":")
    return (kind, habitat) if habitat and (kind in NAMES or is_verb(kind)) else ("", "")


def is_verb(kind: str) -> bool:
    return kind in verbs.NAMES


def pipes(task: str, options: Mapping[str, Any]) -> bool:
    """Return whether a task's output is that of a command in the habitat. options: those of the task."""
    kind, _ = parse_task(task)
    verb = next((verb for verb in VERBS if kind == verb.NAME), None)
    if verb is None:
        return False
    return bool(options.get(verb.PIPES)) if isinstance(verb.PIPES, str) else verb.PIPES


def builds(word: str) -> bool:
    """Return whether a word of the command line may start a build: all words but verbs that don't build."""
    kind, _ = parse_task(word)
    return all(verb.BUILDS for verb in VERBS if kind == verb.NAME)


def phase_named(kind: str) -> Phase | None:
    return named(kind) if kind in NAMES else None


def phases_in_use(project: Project) -> list[Phase]:
    """Return the phases that at least one habitat has, in order."""
    used = {phase.NAME for name in project.habitats.names for phase in project.phases(name)}
    return [phase for phase in PHASES if phase.NAME in used]


def quoted(name: str) -> str:
    """Return a habitat's name as a part of a task's name.

    doit refuses `=` there, takes `*` for a pattern and prints every sign as it is. A folder with such a name
    is no valid habitat; its tasks, under the quoted name, report that.
    """
    if name.isprintable() and not set(name) & set("=*%"):
        return name
    return quote_from_bytes(os.fsencode(name), safe=" :")


class HabitatFailed(TaskFailed):
    """A task's failure, with the error to show."""

    def __init__(self, error: HabitatError) -> None:
        super().__init__(str(error))
        self.error = error


class Freshness(UptodateCalculator):
    """The check whether a phase is up to date. Its repr, which `doit info` prints, is the reason to run.

    doit shows an exception of such a check as a traceback. So `error` holds it until the task's action,
    `build_phase`, raises it.
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
                from phases.core.report import plan  # here: a phase that is up to date has no reason

                self.reason = plan.reason(self.project, self.habitat, self.phase)
            if not self.reason and values.get("hash") != assessment.hashes[self.phase.NAME]:
                self._adopt(task, assessment.hashes[self.phase.NAME])
        except HabitatError as error:
            self.error, self.reason = error, str(error)
        return not self.reason

    def _adopt(self, task: Any, digest: str) -> None:
        """Write the stamp of a snapshot that has none, as in a fresh clone or after a killed run."""
        self.project.slices.keep(self.project.habitat(self.habitat), self.phase)
        image_index, phases = self.project.image_index, self.project.phases(self.habitat)
        name = self.project.names.of(self.habitat)
        own = image_index.tagged(image_labels.snapshot_tag(name, self.phase)) if self.phase.SNAPSHOT else None
        labels = own.labels if own else {}
        before = last_snapshot(phases, self.phase)
        parent = image_index.tagged(image_labels.snapshot_tag(name, before)) if before else None
        task.values = {
            "hash": digest,
            "parent": labels.get(image_labels.LABEL_PARENT) or (parent.id if parent else ""),
            "seconds": image_labels.seconds(labels),
        }
        self._dependencies.save_success(task)

    def __repr__(self) -> str:
        return self.reason or "up to date"


def build_phase(freshness: Freshness) -> dict[str, object] | HabitatFailed:
    """Build a phase. The action of PHASE:HABITAT, which returns the values of its stamp."""
    try:
        if freshness.error:
            raise freshness.error
        from phases.core.scaffold import editor_schema  # imported late: most runs build nothing

        editor_schema.link(freshness.project.root)
        return current_builder().build(freshness.habitat, freshness.phase).values()
    except HabitatError as error:
        return HabitatFailed(error)


def run_verb(project: Project, name: str, verb: Verb, **options: Any) -> bool | HabitatFailed:
    """Run a verb. The action of VERB:HABITAT, to which doit passes the values of the verb's options."""
    if _builders:
        _builders[0].release_idle()  # a verb can take hours, or may wait for a lock itself
    try:
        if isinstance(verb.BUILDS, str):
            options["builder"] = current_builder()
        _exit_codes.append(verb.run(project, name, **options) or 0)
    except HabitatError as error:
        if isinstance(error, SessionFailed):
            _exit_codes.append(error.exit_code)
        return HabitatFailed(error)
    return True


def description(project: Project, name: str) -> str:
    """Return a habitat's line in `doit list`: its description, or its error."""
    try:
        return printable(project.habitat(name).description)
    except HabitatError as error:
        return f"broken: {with_count(error)}"
