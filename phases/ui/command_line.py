"""The command line: keeps doit from changing words that are not for doit."""

from __future__ import annotations

from typing import Any

from doit import doit_cmd
from doit.cmd_base import DodoTaskLoader
from doit.doit_cmd import DoitMain, reset_vars

from phases.core.engine import connect
from phases.ui.verbs.registry import VERBS

_VERBS = frozenset(verb.NAME for verb in VERBS)


class Loader(DodoTaskLoader):
    """doit's loader of dodo.py. doit creates it before it reads the command line, so it can replace that step."""

    def __init__(self) -> None:
        super().__init__()
        DoitMain.process_args = _process
        doit_cmd.Help.print_usage = _print_usage  # of `doit --help`

    def load_tasks(self, cmd: Any, pos_args: list[str]) -> Any:
        """Load the tasks without `pos_args`: no task here is made from them."""
        del pos_args
        return super().load_tasks(cmd, [])


def _print_usage(_: object, cmds: dict[str, Any]) -> None:
    from phases.ui.commands.help import Help  # here: few runs show it

    Help.print_usage(cmds)


def _process(_: DoitMain, args: list[str]) -> list[str]:
    """Replace doit's first step with the command line: `NAME=VALUE` is a word like others, not a variable of doit.

    doit takes variables even from the values of options, and drops those that no dodo.py reads.
    """
    reset_vars()
    if any(":" in arg or arg in _VERBS for arg in args[:1]):
        connect.prefetch_images()  # a task: the engine answers while the modules are loaded
    return args
