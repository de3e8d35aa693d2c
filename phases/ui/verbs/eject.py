"""`doit eject:NAME`: write a Dockerfile that builds the habitat's image, with all files that it needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from phases.core import events

if TYPE_CHECKING:
    from phases.core.project import Project

NAME = "eject"
DESCRIPTION = "Write a Dockerfile that builds the same image without this program"
BUILDS = False
OPTIONS: tuple[dict[str, Any], ...] = (
    {
        "name": "to",
        "long": "to",
        "type": str,
        "default": "",
        "help": "the folder to write [ejected/NAME]",
    },
    {
        "name": "volumes",
        "long": "volumes",
        "type": bool,
        "default": False,
        "help": "copy the files in its volumes too, for commands of the build",
    },
)
WORDS = False
PIPES = False


def run(project: Project, name: str, *, to: str = "", volumes: bool = False) -> None:
    from phases.core.eject.command import eject  # here: few runs eject

    ejected = eject(project, name, to, volumes=volumes)
    text = f"wrote a Dockerfile to {ejected.place}; the README.md beside it says how to build and run it"
    project.bus.emit(events.Notice(name, text))
    if ejected.volumes:
        project.bus.emit(events.Notice(name, "its volumes are empty there; --volumes copies their files"))
