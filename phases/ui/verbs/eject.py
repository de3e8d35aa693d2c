"""`habitat eject NAME`: write the habitat as a Dockerfile, with all files for its build."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from phases.core import events

if TYPE_CHECKING:
    from phases.core.project import Project

NAME = "eject"
DESCRIPTION = "Write it as a Dockerfile"
EXAMPLE = ("eject", "--to", "FOLDER")
BUILDS = False
HARMLESS = False
OPTIONS: tuple[dict[str, Any], ...] = (
    {
        "name": "to",
        "long": "to",
        "type": str,
        "default": "",
        "metavar": "FOLDER",
        "help": "the folder to write [ejected/NAME]",
    },
    {
        "name": "volumes",
        "long": "volumes",
        "type": bool,
        "default": False,
        "help": "copy the content of its volumes, which commands of the build may read",
    },
)
WORDS = False
PIPES = False


def run(project: Project, name: str, *, to: str = "", volumes: bool = False) -> None:
    from phases.core.eject.command import eject
    from phases.ui.typed_paths import typed_path

    ejected = eject(project, name, typed_path(to, project.root), volumes=volumes)
    text = f"wrote a Dockerfile into {ejected.folder}; README.md there says how to build and run it"
    project.bus.emit(events.Notice(name, text))
    if ejected.lacks_volumes:
        text = "the content of its volumes, which README.md lists, was not copied: --volumes copies it"
        project.bus.emit(events.Notice(name, text))
