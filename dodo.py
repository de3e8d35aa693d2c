"""The tasks of this project: PHASE:HABITAT and VERB:HABITAT. See README.md, or `doit list`."""

from collections.abc import Iterator
from pathlib import Path

from phases.ui.tasks import doit_config, habitat_tasks, open_project

PROJECT = open_project(Path(__file__).resolve().parent)
DOIT_CONFIG = doit_config(PROJECT)


def task_habitats() -> Iterator[dict[str, object]]:
    """Every phase of every habitat, and the habitats themselves."""
    yield from habitat_tasks(PROJECT)
