"""The command line before doit reads it, and doit's loader for a project's dodo.py."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from doit import doit_cmd
from doit.cmd_base import DodoTaskLoader
from doit.doit_cmd import DoitMain, reset_vars

from phases.core.engine import connect
from phases.ui import typed_paths
from phases.ui.verbs.registry import NAMES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# The first words with which a run needs the engine.
_ASKING = frozenset((*NAMES, "build"))


class Loader(DodoTaskLoader):
    """doit's loader of dodo.py. doit creates it before it reads the command line, so it can replace that step."""

    def __init__(self) -> None:
        super().__init__()
        DoitMain.process_args = _process
        doit_cmd.Help.print_usage = _print_usage  # of `doit --help`

    def setup(self, opt_values: Any) -> None:
        """Load dodo.py, and go to its folder."""
        typed_paths.record_folder()
        super().setup(opt_values)

    def load_tasks(self, cmd: Any, pos_args: list[str]) -> Any:
        """Load the tasks without `pos_args`: no task here is made from them."""
        del pos_args
        return super().load_tasks(cmd, [])


def prepare(words: Sequence[str]) -> list[str]:
    """Return the words that doit gets: those of a person, with the command first.

    No word at all shows the state of the project. `--help` and `-h`, anywhere, ask for help.
    """
    if any(":" in word or word in _ASKING for word in words[:1]):
        connect.prefetch_images()  # a task: the engine answers while the modules are loaded
    if not words:
        return ["status", "--next"]
    if words[0].startswith("-") or not {"-h", "--help"}.isdisjoint(words):
        from phases.ui.commands import words as order  # here: few runs need it

        return order.command_first(words)
    return list(words)


def _print_usage(_: object, cmds: Mapping[str, Any]) -> None:
    from phases.ui.commands.help import Help  # here: few runs show it

    Help.print_usage(cmds)


def _process(_: DoitMain, args: list[str]) -> list[str]:
    """Replace doit's first step with the command line: `NAME=VALUE` is a word like others, not a variable of doit.

    doit takes variables even from the values of options, and drops those that no dodo.py reads.
    """
    reset_vars()
    return prepare(args)
