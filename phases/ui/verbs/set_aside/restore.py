"""`habitat restore NAME [N]`: make a container that was set aside the habitat's again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from phases.ui.verbs.verb import NUMBER

if TYPE_CHECKING:
    from phases.core.project import Project

NAME = "restore"
DESCRIPTION = "Use a container that was set aside again"
EXAMPLE = ("restore", "2")
BUILDS = False
HARMLESS = False
OPTIONS: tuple[dict[str, Any], ...] = (NUMBER,)
WORDS = False
PIPES = False


def run(project: Project, name: str, *, number: int = 1) -> int:
    from phases.core.runtime.carry import aside

    aside.restore(project, name, number)
    return 0
