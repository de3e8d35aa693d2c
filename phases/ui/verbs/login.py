"""`habitat login NAME`: log its agent in, on the terminal and in the browser of this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from phases.core.project import Project

NAME = "login"
DESCRIPTION = "Log its agent in"
EXAMPLE = ("login",)
BUILDS = False
HARMLESS = True
OPTIONS: tuple[dict[str, Any], ...] = (
    {
        "name": "cmd",
        "long": "cmd",
        "type": str,
        "default": "",
        "metavar": "COMMAND",
        "help": "run this login, such as 'gh auth login', instead of the one of the config",
    },
)
WORDS = False
PIPES = False


def run(project: Project, name: str, *, cmd: str = "") -> int:
    from phases.core.runtime.person import login
    from phases.ui.terminal import LocalTerminal

    return login.login(project, name, cmd, LocalTerminal())
