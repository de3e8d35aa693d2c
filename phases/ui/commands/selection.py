"""The tasks that are named on the command line."""

from __future__ import annotations

import fnmatch
from typing import TYPE_CHECKING, Any

from doit.cmd_base import subtasks_iter
from doit.cmdparse import CmdParseError
from doit.exceptions import InvalidCommand

from phases.core import command_form
from phases.core.errors import printable
from phases.registry import NAMES as PHASE_NAMES
from phases.ui.commands.arguments import known_names, parser_of, refused_pattern, shortened, verb_named
from phases.ui.commands.printing import refused
from phases.ui.tasks import current_project, is_verb, parse_task, phase_named, quoted
from phases.ui.verbs import destroy, layer_tests, start
from phases.ui.verbs.registry import NAMES as VERB_NAMES
from phases.ui.verbs.registry import VERBS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

#: The commands that a person may have meant by a word that is no task.
COMMANDS = (
    "build",
    "clean",
    "forget",
    "help",
    "ignore",
    "info",
    "list",
    "new",
    "rebuild",
    "run",
    "schema",
    "status",
    "tabcompletion",
)

# The words by which people know a command from Docker, Compose, Vagrant, git or a shell.
_SYNONYMS = {
    "clean": ("clear", "rmi"),
    "destroy": ("del", "delete", "remove", "rm"),
    "eject": ("export",),
    "exec": ("execute",),
    "info": ("inspect", "show"),
    "list": ("ls",),
    "migrate": ("convert", "import"),
    "new": ("add", "create"),
    "plan": ("diff",),
    "rebuild": ("recreate", "reset"),
    "shell": ("attach", "bash", "connect", "enter", "sh", "ssh", "zsh"),
    "start": ("launch", "open", "restart", "resume", "run", "up"),
    "status": ("df", "images", "ps", "stats", "top"),
    "stop": ("down", "halt", "kill", "pause", "suspend"),
    "tabcompletion": ("completion", "completions"),
}

_COMMAND_OF = {word: command for command, words in _SYNONYMS.items() for word in words}

#: What may be before the colon of a task.
KINDS = (*VERB_NAMES, *PHASE_NAMES)

#: The commands that an error may suggest. They build, stop, overwrite and remove nothing.
HARMLESS = frozenset({"help", "info", "list", "schema", "status", *(verb.NAME for verb in VERBS if verb.HARMLESS)})


def habitats(task_list: Iterable[Any]) -> list[str]:
    """Return the habitats, as their names are in tasks."""
    return _names(task_list, start.NAME)


def _names(task_list: Iterable[Any], verb: str) -> list[str]:
    prefix = f"{verb}:"
    return [task.name.removeprefix(prefix) for task in task_list if task.name.startswith(prefix)]


def default_habitat() -> str:
    """Return the habitat that a verb without a name means, where there are several: the one named like the folder."""
    return quoted(current_project().root.name)


def removed_habitats(task_list: Iterable[Any]) -> list[str]:
    """Return the habitats that were removed or renamed, as their names are in tasks."""
    tasks = list(task_list)
    return sorted({*_names(tasks, destroy.NAME)} - {*habitats(tasks)})


def check(names: Iterable[str], task_list: Sequence[Any]) -> None:
    """Check that names without a wildcard are tasks.

    Raises:
        InvalidCommand: There is no such task. Tells the first.
    """
    known = {task.name for task in task_list}
    for name in names:
        if name not in known and "*" not in name:
            kind = "command" if command_form.program() == command_form.HABITAT and ":" not in name else "task"
            raise InvalidCommand(f"there is no {kind} '{shortened(name)}': {_remedy(name, habitats(task_list))}")


def check_options(words: Sequence[str], task_list: Sequence[Any]) -> None:
    """Refuse options of a verb, and a pattern that stands for `destroy`, before anything is done.

    Args:
        words: The tasks, each followed by its options.
        task_list: All tasks.

    Raises:
        HabitatError: Options of a verb contradict each other.
        InvalidCommand: A verb has no such option, or a pattern stands for `destroy`.
    """
    known = {task.name for task in task_list}
    rest = list(words)
    while rest:
        name = rest.pop(0)
        kind, habitat = parse_task(name)
        verb = verb_named(kind)
        if "*" in name and any(parse_task(task)[0] == destroy.NAME for task in fnmatch.filter(known, name)):
            raise InvalidCommand(refused_pattern(name, habitats(task_list)))
        if verb is None or name not in known:
            continue
        parser = parser_of(verb)
        try:
            options, rest = parser.parse(rest)
        except CmdParseError as error:
            raise refused(error, parser, verb.NAME) from error
        if verb.WORDS:
            if not any(word != "--" for word in rest[:2]):
                example = command_form.verb(verb.NAME, printable(habitat), *verb.EXAMPLE[1:])
                raise InvalidCommand(f"{verb.NAME} needs a {str(verb.WORDS).lower()}, as in `{example}`")
            return  # the words that follow belong to it
        if verb is start:
            start.check(habitat, detach=options["detach"], cmd=options["cmd"])
        if verb is layer_tests:
            layer_tests.check(habitat, options["layer"])


def _remedy(name: str, names: Sequence[str]) -> str:
    """Return what to type instead of a name that is no task. It suggests nothing that builds, stops or removes."""
    kind, colon, habitat = name.partition(":")
    if "=" in kind:
        program = command_form.program()
        return f"a variable goes before {program}, as in `NAME=VALUE {program} …`"
    if is_verb(kind) or phase_named(kind):
        return _remedy_for_habitat(kind, habitat, names)
    if kind in _COMMAND_OF and (kind != "run" or command_form.program() == command_form.HABITAT):
        return _remedy_for_synonym(_COMMAND_OF[kind])
    if kind in COMMANDS:
        return _remedy_for_command(kind, has_habitat=bool(colon))
    if kind in names:
        example = command_form.verb("plan", printable(kind))
        return f"it is a habitat; a verb or a phase goes before it, as in `{example}`"
    kinds = [*COMMANDS, *KINDS] if not colon else KINDS
    near = _suggestion([kind, habitat], [kinds, names]) if colon else _suggestion([kind], [kinds])
    return near or f"`{command_form.command('help')}` lists all commands"


def _remedy_for_command(command: str, *, has_habitat: bool) -> str:
    """Return what to type instead of a command at the place of a task."""
    if has_habitat:
        return f"{command} is a command, so a habitat is a word of its own: {command} NAME"
    return f"it is a command, which goes first{f': `{command_form.command(command)}`' if command in HARMLESS else ''}"


def _remedy_for_synonym(command: str) -> str:
    """Return what to type instead of a word that another program has for a command."""
    if command in HARMLESS:
        return f"here that is `{command_form.command(command)}`"
    return f"here that is {command}: `{command_form.command('help', command)}` explains it"


def _remedy_for_habitat(kind: str, habitat: str, names: Sequence[str]) -> str:
    """Return what to type instead of a verb or phase with an unknown habitat, or with none."""
    if not habitat:
        form = command_form.verb if is_verb(kind) else command_form.phase
        return f"name a habitat too, as in `{form(kind, 'NAME')}`; {known_names(names)}"
    if habitat in names:
        return f"{printable(habitat)} has no such phase"
    return _suggestion([kind, habitat], [[kind], names]) or f"no habitat has this name; {known_names(names)}"


def _suggestion(parts: Sequence[str], options: Sequence[Sequence[str]]) -> str:
    """Return the remedy with the nearest word of `options` for each of the parts.

    For one that is not harmless, it names the help of a command, and is "" for a task.
    """
    near = [part if part in known else _nearest(part, known) for part, known in zip(parts, options, strict=True)]
    if not all(near):
        return ""
    if near[0] in HARMLESS:
        form = command_form.verb if len(near) > 1 else command_form.command
        return f"did you mean `{form(*map(printable, near))}`?"
    return f"`{command_form.command('help', *near)}` explains {near[0]}" if len(near) == 1 else ""


def _nearest(word: str, options: Sequence[str]) -> str:
    from difflib import get_close_matches

    return next(iter(get_close_matches(word, options, n=1)), "")


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
