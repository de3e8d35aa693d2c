"""The tasks of doit: PHASE:HABITAT builds a habitat up to a phase, VERB:HABITAT does something with the habitat.

A project's dodo.py takes them from here, and so does the program `habitat`. README.md explains both, `doit list` shows
them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from phases.registry import PHASES
from phases.ui.tasks import Freshness, build_phase, doit_config, open_project, phases_in_use, quoted, run_verb
from phases.ui.verbs.registry import FOR_REMOVED, VERBS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from phases.core.project import Project
    from phases.ui.verbs.verb import Verb

    Tasks = Iterator[dict[str, Any]]


def open_tasks(root: Path) -> tuple[dict[str, Any], Callable[[], Tasks]]:
    """Open the project of a folder. Returns what doit calls DOIT_CONFIG and `task_habitats`."""
    project = open_project(root)

    def task_habitats() -> Tasks:
        """Every phase and every verb of every habitat."""
        return all_tasks(project)

    return doit_config(project), task_habitats


def all_tasks(project: Project) -> Tasks:
    """Yield all tasks. `doit list` keeps the order: the groups of phases come first."""
    habitats = project.habitats.names
    for phase in phases_in_use(project):
        yield {"basename": phase.NAME, "name": None, "doc": phase.DESCRIPTION}
    for habitat in habitats:
        yield from phase_tasks(project, habitat)
    for habitat in habitats:
        yield from verb_tasks(project, habitat, VERBS)
    for habitat in project.habitats.removed:
        yield from verb_tasks(project, habitat, FOR_REMOVED)


def phase_tasks(project: Project, habitat: str) -> Tasks:
    """PHASE:HABITAT, such as setup:hello. A phase needs the one before it, and runs when its slice has changed."""
    before: list[str] = []
    for phase in project.phases(habitat):
        freshness = Freshness(project, habitat, phase)
        yield {
            "basename": phase.NAME,
            "name": quoted(habitat),
            "doc": phase.DESCRIPTION,
            "file_dep": [str(project.slices.path(habitat, phase).relative_to(project.root))],
            "uptodate": [freshness],
            "task_dep": before,
            "actions": [(build_phase, [freshness])],
            "io": {"capture": False},
        }
        before = [f"{phase.NAME}:{quoted(habitat)}"]


def verb_tasks(project: Project, habitat: str, verbs: Iterable[Verb]) -> Tasks:
    """VERB:HABITAT, such as start:hello. A verb that builds needs the last phase; the others need nothing."""
    for verb in verbs:
        last = PHASES[-1].NAME if verb.BUILDS is True else verb.BUILDS
        yield {
            "basename": f"{verb.NAME}:{quoted(habitat)}",
            "doc": verb.DESCRIPTION,
            "task_dep": [f"{last}:{quoted(habitat)}"] if last else [],
            "params": list(verb.OPTIONS),
            "pos_arg": "words" if verb.WORDS else None,
            "actions": [(run_verb, [project, habitat, verb])],
            "io": {"capture": False},
        }
