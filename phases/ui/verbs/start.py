"""`doit start:NAME`: build what has changed, start the container, run its command."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from phases.core import runtime
from phases.core.errors import StartError
from phases.ui.terminal import LocalTerminal

if TYPE_CHECKING:
    from phases.core.project import Project

NAME = "start"
DESCRIPTION = "Build what has changed, and run the habitat's command"
BUILDS = True
OPTIONS: tuple[dict[str, Any], ...] = ()
WORDS = False
PIPES = False


def run(project: Project, name: str) -> None:
    code = runtime.start(project, name, LocalTerminal())
    if code:
        raise StartError(
            f"the command of {name} ended with exit code {code}",
            remedy=f"its container habitat-{name} is stopped and kept",
        )
