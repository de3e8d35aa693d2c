"""The tasks of doit: PHASE:HABITAT builds a habitat up to a phase, VERB:HABITAT does something with the habitat.

README.md explains both, `doit list` shows them.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from phases.registry import PHASES
from phases.ui.tasks import Freshness, build_phase, doit_config, open_project, phases_in_use, quoted, run_verb
from phases.ui.verbs.registry import FOR_REMOVED, VERBS
from phases.ui.verbs.verb import Verb

PROJECT = open_project(Path(__file__).resolve().parent)
DOIT_CONFIG = doit_config(PROJECT)


def task_habitats() -> Iterator[dict[str, Any]]:
    """Every phase and every verb of every habitat. `doit list` keeps the order: the groups of phases come first."""
    habitats = PROJECT.habitats.names
    for phase in phases_in_use(PROJECT):
        yield {"basename": phase.NAME, "name": None, "doc": phase.DESCRIPTION}
    for habitat in habitats:
        yield from phase_tasks(habitat)
    for habitat in habitats:
        yield from verb_tasks(habitat, VERBS)
    for habitat in PROJECT.habitats.removed:
        yield from verb_tasks(habitat, FOR_REMOVED)


def phase_tasks(habitat: str) -> Iterator[dict[str, Any]]:
    """PHASE:HABITAT, such as setup:hello. A phase needs the one before it, and runs when its slice has changed."""
    before: list[str] = []
    for phase in PROJECT.phases(habitat):
        freshness = Freshness(PROJECT, habitat, phase)
        yield {
            "basename": phase.NAME,
            "name": quoted(habitat),
            "doc": phase.DESCRIPTION,
            "file_dep": [str(PROJECT.slices.path(habitat, phase).relative_to(PROJECT.root))],
            "uptodate": [freshness],
            "task_dep": before,
            "actions": [(build_phase, [freshness])],
            "io": {"capture": False},
        }
        before = [f"{phase.NAME}:{quoted(habitat)}"]


def verb_tasks(habitat: str, verbs: Iterable[Verb]) -> Iterator[dict[str, Any]]:
    """VERB:HABITAT, such as start:hello. A verb that builds needs the last phase; the others need nothing."""
    for verb in verbs:
        last = PHASES[-1].NAME if verb.BUILDS is True else verb.BUILDS
        yield {
            "basename": f"{verb.NAME}:{quoted(habitat)}",
            "doc": verb.DESCRIPTION,
            "task_dep": [f"{last}:{quoted(habitat)}"] if last else [],
            "params": list(verb.OPTIONS),
            "pos_arg": "words" if verb.WORDS else None,
            "actions": [(run_verb, [PROJECT, habitat, verb])],
            "io": {"capture": False},
        }
