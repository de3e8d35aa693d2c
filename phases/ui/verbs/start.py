"""`habitat start NAME`: build what has changed, start the container and run the habitat's command."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from phases.core import command_form
from phases.core.errors import StartError
from phases.ui.verbs.verb import SessionFailed

if TYPE_CHECKING:
    from phases.core.project import Project

NAME = "start"
DESCRIPTION = "Build what changed, and run its command"
EXAMPLE = ("start",)
BUILDS = True
HARMLESS = False
OPTIONS: tuple[dict[str, Any], ...] = (
    {
        "name": "detach",
        "long": "detach",
        "type": bool,
        "default": False,
        "help": "only start the container, and leave it running",
    },
    {
        "name": "cmd",
        "long": "cmd",
        "type": str,
        "default": "",
        "metavar": "COMMAND",
        "help": "run this shell command instead of entry.command",
    },
    {
        "name": "new",
        "long": "new",
        "type": bool,
        "default": False,
        "help": "make a new container; the old one is kept under another name",
    },
)

# The exit code of a shell whose command ended by Ctrl-C.
_SIGINT = 130

WORDS = False
PIPES = "cmd"


def check(name: str, *, detach: bool, cmd: str) -> None:
    """Refuse options that contradict each other, before anything is built. Raises StartError."""
    if detach and cmd:
        raise StartError(
            "--detach runs no command, but --cmd gives one",
            where=name,
            remedy=f"use one of them, or --detach and then `{command_form.verb('exec', name)} -- COMMAND`",
        )


def run(project: Project, name: str, *, detach: bool = False, cmd: str = "", new: bool = False) -> int:
    from phases.core.runtime import start as runtime_start
    from phases.core.runtime.own_containers import container_name
    from phases.ui.terminal import LocalTerminal

    check(name, detach=detach, cmd=cmd)
    if detach:
        runtime_start.start_detached(project, name, fresh=new)
        return 0
    terminal = LocalTerminal()
    code = runtime_start.start(project, name, terminal, command=cmd, fresh=new)
    is_shell = not (cmd or project.habitat(name).entry.command)
    # A person who ends a server by Ctrl-C, or leaves a shell after a command that failed, needs no error.
    if code and not is_shell and not (terminal.is_interrupted or (terminal.interactive and code == _SIGINT)):
        remedy = f"its container {container_name(project.names.of(name))} is kept"
        raise SessionFailed(f"the command of {name} ended with exit code {code}", code, remedy=remedy)
    return code
