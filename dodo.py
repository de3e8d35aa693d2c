"""The tasks of this project: PHASE:HABITAT and start:HABITAT. See README.md, or `doit list`."""

from pathlib import Path

from phases.ui.tasks import doit_config, habitat_tasks, open_project

PROJECT = open_project(Path(__file__).resolve().parent)
DOIT_CONFIG = doit_config(PROJECT)


def task_habitats():  # type: ignore[no-untyped-def] # doit calls it
    """Every phase of every habitat, and the habitats themselves."""
    yield from habitat_tasks(PROJECT)
