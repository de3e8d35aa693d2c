"""`doit debug:NAME`: a shell where the last phase failed, in a container that is thrown away."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from phases.core.project import Project

NAME = "debug"
DESCRIPTION = "Open a shell where the last phase failed, to find out why"
BUILDS = False
OPTIONS: tuple[dict[str, Any], ...] = ()
WORDS = False
PIPES = True


def run(project: Project, name: str) -> int:
    from phases.core.runtime import debug
    from phases.ui.terminal import LocalTerminal

    return debug.debug(project, name, LocalTerminal())
