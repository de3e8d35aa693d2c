"""`doit eject:NAME`: the habitat as a Dockerfile, with all that it is built from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from phases.core import events

if TYPE_CHECKING:
    from phases.core.project import Project

NAME = "eject"
DESCRIPTION = "Write it as a Dockerfile that docker alone builds the same image of"
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
        "help": "with a copy of what is in its volumes, for commands of the build",
    },
)
WORDS = False
PIPES = False


def run(project: Project, name: str, *, to: str = "", volumes: bool = False) -> None:
    # Here, since few runs eject anything.
    from phases.core.eject.command import eject

    made = eject(project, name, to, volumes=volumes)
    text = f"{made.place} has it as a Dockerfile, with a README.md that says how to build and run it"
    project.bus.emit(events.Notice(name, text))
    if made.volumes:
        project.bus.emit(events.Notice(name, "its volumes are empty there; --volumes copies what is in them"))
