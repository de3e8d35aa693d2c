"""`habitat stop NAME`: stop the habitat's container."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from phases.core.project import Project

NAME = "stop"
DESCRIPTION = "Stop its container, and keep it"
EXAMPLE = ("stop",)
BUILDS = False
HARMLESS = False
OPTIONS: tuple[dict[str, Any], ...] = (
    {
        "name": "force",
        "long": "force",
        "type": bool,
        "default": False,
        "help": "stop it even if a session uses it",
    },
)
WORDS = False
PIPES = False


def run(project: Project, name: str, *, force: bool = False) -> None:
    from phases.core.runtime import stop

    stop.stop(project, name, force=force)
