"""Gives doit the tasks of the habitats in this folder: `phases/dodo.py` has them."""

from pathlib import Path

from phases.dodo import open_tasks

DOIT_CONFIG, task_habitats = open_tasks(Path(__file__).resolve().parent)
