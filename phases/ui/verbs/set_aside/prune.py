"""`habitat prune NAME`: remove the containers that were set aside, after showing what is in them."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from phases.ui.verbs.destroy import ask_to_remove
from phases.ui.verbs.verb import YES

if TYPE_CHECKING:
    from phases.core.project import Project

NAME = "prune"
DESCRIPTION = "Remove its containers that were set aside"
EXAMPLE = ("prune",)
BUILDS = False
HARMLESS = False
OPTIONS: tuple[dict[str, Any], ...] = (YES,)
WORDS = False
PIPES = False


def run(project: Project, name: str, *, yes: bool = False) -> int:
    from phases.core.runtime import destroy

    confirm = (lambda _: True) if yes else partial(ask_to_remove, name, NAME)
    return 0 if destroy.destroy(project, name, confirm, only_set_aside=True) else 1
