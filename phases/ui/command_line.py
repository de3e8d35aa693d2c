"""The command line: keeps doit from changing words that are not for doit."""

from __future__ import annotations

from itertools import takewhile
from typing import Any

from doit import doit_cmd
from doit.cmd_base import DodoTaskLoader
from doit.doit_cmd import DoitMain

from phases.core.engine import connect
from phases.ui.verbs.registry import VERBS

_process_args = DoitMain.process_args

# The command that takes URLs, in which there may be `=`.
_NEW = "new"

#: Options whose value is NAME=VALUE.
_TAKES_PAIRS = ("--arg",)

_TAKES_WORDS = tuple(f"{verb.NAME}:" for verb in VERBS if verb.WORDS)


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


def _process(doit: DoitMain, args: list[str]) -> list[str]:
    """Replace doit's first step with the command line."""
    if any(":" in arg for arg in args[:1]):
        connect.prefetch_images()  # a task: the engine answers while the modules are loaded
    return _without_variables(doit, args)


def _without_variables(doit: DoitMain, args: list[str]) -> list[str]:
    """Let doit take its variables, `NAME=VALUE`, only from words that are for doit.

    The words behind a verb that takes words, the URLs of `new`, and the value of an option remain as they are.
    So do empty words, at which doit fails.
    """
    own = list(takewhile(lambda arg: arg != _NEW and not arg.startswith(_TAKES_WORDS), args))
    kept: list[str] = []
    for arg in own:
        is_given = bool(kept) and kept[-1] in _TAKES_PAIRS
        kept += [arg] if is_given or not arg else _process_args(doit, [arg])
    return [*kept, *args[len(own) :]]
