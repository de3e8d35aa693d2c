"""`habitat logs NAME`: show the output of the build and of the container."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from phases.core.errors import StartError

if TYPE_CHECKING:
    from phases.core.project import Project

NAME = "logs"
DESCRIPTION = "Show the output of the build and container"
EXAMPLE = ("logs", "--follow")
BUILDS = False
HARMLESS = True
OPTIONS: tuple[dict[str, Any], ...] = (
    {
        "name": "phase",
        "long": "phase",
        "type": str,
        "default": "",
        "metavar": "PHASE",
        "help": "show only the output of this phase",
    },
    {
        "name": "follow",
        "long": "follow",
        "type": bool,
        "default": False,
        "help": "show only the output of the container, until it stops",
    },
)
WORDS = False
PIPES = False


def run(project: Project, name: str, *, phase: str = "", follow: bool = False) -> None:
    from phases.core.runtime import logs

    if phase and follow:
        raise StartError(
            "--follow shows the output of the container, --phase that of the build",
            where=name,
            remedy="use one of them",
        )
    if follow:
        logs.follow(project, name)
    elif phase:
        logs.show_phase(project, name, phase)
    else:
        logs.show(project, name)
