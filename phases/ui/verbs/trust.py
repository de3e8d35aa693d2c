"""`habitat trust NAME`: show what the config runs or opens on this machine, and ask for agreement."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from phases.ui.verbs.verb import YES

if TYPE_CHECKING:
    from phases.core.project import Project

NAME = "trust"
DESCRIPTION = "Show what it does on this machine, and ask"
EXAMPLE = ("trust",)
BUILDS = False
HARMLESS = False
OPTIONS: tuple[dict[str, Any], ...] = (YES,)
WORDS = False
PIPES = False


def run(project: Project, name: str, *, yes: bool = False) -> int:
    return 0 if project.trust.review(project.habitat(name), ask=not yes) else 1
