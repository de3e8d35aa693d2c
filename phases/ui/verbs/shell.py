"""`habitat shell NAME`: open a shell in the habitat, or in a temporary container of one of its snapshots."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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
)
WORDS = False
PIPES = True


def run(project: Project, name: str, *, at: str = "") -> int:
    from phases.core.runtime import exec as runtime_exec
    from phases.ui.terminal import LocalTerminal

    return runtime_exec.shell(project, name, LocalTerminal(), at=at)
