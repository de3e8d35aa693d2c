"""`habitat shell NAME`: open a shell in the habitat, or in a temporary container of one of its snapshots."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from phases.core.errors import StartError
from phases.ui.verbs.verb import NUMBER

if TYPE_CHECKING:
    from phases.core.project import Project

NAME = "shell"
DESCRIPTION = "Open a shell in it, or in a snapshot"
EXAMPLE = ("shell",)
BUILDS = False
HARMLESS = True
OPTIONS: tuple[dict[str, Any], ...] = (
    {
        "name": "at",
        "long": "at",
        "type": str,
        "default": "",
        "metavar": "PHASE",
        "help": "open it in a temporary container of this phase's snapshot",
    },
    {
        "name": "aside",
        "long": "aside",
        "type": bool,
        "default": False,
        "help": "open it in a container that was set aside",
    },
    NUMBER,
)
WORDS = False
PIPES = True


def run(project: Project, name: str, *, at: str = "", aside: bool = False, number: int = 1) -> int:
    from phases.core.runtime import exec as runtime_exec
    from phases.ui.terminal import LocalTerminal

    if aside and at:
        raise StartError("--aside and --at name two containers", where=name, remedy="use one of them")
    if aside:
        from phases.core.runtime.carry import aside as runtime_aside

        return runtime_aside.shell(project, name, LocalTerminal(), number)
    return runtime_exec.shell(project, name, LocalTerminal(), at=at)
