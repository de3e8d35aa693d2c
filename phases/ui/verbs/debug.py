"""`habitat debug NAME`: open a shell where the last build failed, in a temporary container."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from phases.core.project import Project

NAME = "debug"
DESCRIPTION = "Open a shell where its last build failed"
EXAMPLE = ("debug",)
BUILDS = False
HARMLESS = True
OPTIONS: tuple[dict[str, Any], ...] = ()
WORDS = False
PIPES = True


def run(project: Project, name: str) -> int:
    from phases.core.runtime import debug
    from phases.ui.terminal import LocalTerminal

    return debug.debug(project, name, LocalTerminal())
