"""The tasks that are named on the command line."""

from __future__ import annotations

import fnmatch
from typing import TYPE_CHECKING, Any

from doit.cmd_base import subtasks_iter
from doit.cmdparse import CmdOption, TaskParse
from doit.exceptions import InvalidCommand

from phases.core.errors import did_you_mean, printable
from phases.ui.tasks import is_verb, parse_task
from phases.ui.verbs import start
from phases.ui.verbs.registry import VERBS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence


def check(names: Iterable[str], task_list: Sequence[Any]) -> None:
    """Check that names without a wildcard are tasks.

    Raises:
        InvalidCommand: There is no such task. Tells the first.
    """
    known = {task.name for task in task_list}
    for name in names:
        if name not in known and "*" not in name:
            shown = printable(name if len(name) < 100 else f"{name[:100]}…")
            raise InvalidCommand(f"there is no task '{shown}': {_remedy(name, known)}")


def check_options(words: Sequence[str], task_list: Sequence[Any]) -> None:
    """Refuse options of a verb before anything is built.

    Args:
        words: The tasks, each followed by its options.
        task_list: All tasks.

    Raises:
        HabitatError: Options of a verb contradict each other.
        CmdParseError: A verb has no such option.
    """
    known = {task.name for task in task_list}
    rest = list(words)
    while rest:
        name = rest.pop(0)
        kind, habitat = parse_task(name)
        verb = next((verb for verb in VERBS if kind == verb.NAME), None)
        if verb is None or name not in known:
            continue
        options, rest = TaskParse([CmdOption(option) for option in verb.OPTIONS]).parse(rest)
        if verb.WORDS:
            return  # the words that follow belong to it
        if verb is start:
            start.check(habitat, detach=options["detach"], cmd=options["cmd"])


def _remedy(name: str, known: Collection[str]) -> str:
    """Return what to type instead of a name that is no task."""
    if is_verb(name):
        return f"name a habitat too, as in `doit {name}:NAME`"
    if (task := f"{start.NAME}:{name}") in known:
        return f"it is a habitat, and `doit {task}` builds and starts it"
    if "=" in name.partition(":")[0]:
        return "a variable goes before doit, as in `NAME=VALUE doit …`"
    near = did_you_mean(name, known)
    return near if near.startswith("did") else "`doit list --all` shows all tasks"


def expand(names: Iterable[str], task_list: Sequence[Any]) -> list[str]:
    """Return the named tasks, with wildcards and groups resolved, each once.

    Raises:
        InvalidCommand: There is no such task.
    """
    names = list(names)
    check(names, task_list)
    tasks = {task.name: task for task in task_list}
    selected: dict[str, None] = {}  # a set that keeps the order
    for pattern in names:
        for name in fnmatch.filter(tasks, pattern) if "*" in pattern else [pattern]:
            selected[name] = None
            selected.update((task.name, None) for task in subtasks_iter(tasks, tasks[name]))
    return list(selected)
