"""`doit logs:NAME`: what building and running the habitat printed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from phases.core.errors import StartError

if TYPE_CHECKING:
    from phases.core.project import Project

NAME = "logs"
DESCRIPTION = "Show what its phases and its container's main process printed"
BUILDS = False
OPTIONS: tuple[dict[str, Any], ...] = (
    {
        "name": "phase",
        "long": "phase",
        "type": str,
        "default": "",
        "help": "only of that phase",
    },
    {
        "name": "follow",
        "long": "follow",
        "type": bool,
        "default": False,
        "help": "only of the container, and on until it stops",
    },
)
WORDS = False
PIPES = False


def run(project: Project, name: str, *, phase: str = "", follow: bool = False) -> None:
    from phases.core.runtime import logs

    if phase and follow:
        raise StartError(
            "--follow is for the container's output, --phase for the build's",
            where=name,
            remedy="leave one of them out",
        )
    if follow:
        logs.follow(project, name)
    elif phase:
        logs.show_phase(project, name, phase)
    else:
        logs.show(project, name)
