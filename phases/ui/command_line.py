"""The command line, of which doit would not leave everything as it is."""

from __future__ import annotations

from itertools import takewhile
from typing import Any

from doit.cmd_base import DodoTaskLoader
from doit.doit_cmd import DoitMain

from phases.core.engine import connect
from phases.ui.verbs.registry import VERBS

_process_args = DoitMain.process_args

# The command that is given URLs.
_NEW = "new"

#: Options whose value has an equals sign in it.
_TAKES_PAIRS = ("--arg",)

_TAKES_WORDS = tuple(f"{verb.NAME}:" for verb in VERBS if verb.WORDS)


class Loader(DodoTaskLoader):
    """doit's own. Of what is ours, doit makes this first, and before it looks at the command line."""

    def __init__(self) -> None:
        super().__init__()
        DoitMain.process_args = _processed

    def load_tasks(self, cmd: Any, pos_args: list[str]) -> Any:
        """pos_args: for tasks that are made by other options than their own; none here are."""
        del pos_args
        return super().load_tasks(cmd, [])


def _processed(doit: DoitMain, args: list[str]) -> list[str]:
    """As doit's own, whose first look at the command line this is."""
    if any(":" in arg for arg in args[:1]):
        # A task is: the engine is asked while all that it takes is loaded.
        connect.prefetch_images()
    return _but_for_words(doit, args)


def _but_for_words(doit: DoitMain, args: list[str]) -> list[str]:
    """doit takes any `a=b` out of the command line, as a variable of its own, and breaks down at an empty
    argument. What stands behind a verb that runs it is none of its business, nor are the URLs of `new`, or a
    pair that an option is given.
    """
    own = list(takewhile(lambda arg: arg != _NEW and not arg.startswith(_TAKES_WORDS), args))
    kept: list[str] = []
    for arg in own:
        is_given = bool(kept) and kept[-1] in _TAKES_PAIRS
        kept += [arg] if is_given or not arg else _process_args(doit, [arg])
    return [*kept, *args[len(own) :]]
