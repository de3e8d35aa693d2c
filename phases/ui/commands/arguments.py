"""The words of a command line, in every order that a person types, as the tasks and options that doit takes.

doit wants its own options first, then each task with its options behind it. A person also types `stop hello --force`,
`stop --force hello`, `plan a b`, or `plan` where there is one habitat, and options of doit behind a task.
"""

from __future__ import annotations

import fnmatch
import getopt
from itertools import takewhile
from typing import TYPE_CHECKING

from doit.cmdparse import CmdOption, TaskParse
from doit.exceptions import InvalidCommand

from phases.core import command_form
from phases.core.errors import printable
from phases.registry import NAMES as PHASE_NAMES
from phases.ui.tasks import quoted
from phases.ui.verbs import destroy, layer_tests
from phases.ui.verbs.registry import FOR_REMOVED, VERBS
from phases.ui.verbs.verb import NUMBER

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from doit.cmdparse import CmdParse

    from phases.ui.verbs.verb import Verb

#: The command that builds. `build:NAME` means the last phase.
BUILD = "build"

# Characters of the names of habitats in an error.
_MAX_NAMES = 80


def options_first(words: Sequence[str], parser: CmdParse) -> list[str]:
    """Move the options of doit itself to the front.

    An option that the verb before it has, too, belongs to the verb. The words of a command in a habitat remain.

    Args:
        words: The words behind `doit`, or behind `doit run`.
        parser: doit's parser of its own options.
    """
    own: list[str] = []
    rest: list[str] = []
    waiting = list(words)
    verb: Verb | None = None
    while waiting and waiting[0] != "--" and not (verb and verb.WORDS):
        count, target = 1, rest
        if not is_option(waiting[0]):
            verb = verb_named(waiting[0].partition(":")[0]) or verb
        elif length := verb and length_of_option(waiting, parser_of(verb)):
            count = length
        elif 0 < (length := length_of_option(waiting, parser)) <= len(waiting):
            count, target = length, own
        target += waiting[:count]
        del waiting[:count]
    return [*own, *rest, *waiting]


def as_tasks(
    words: Sequence[str], names: Sequence[str], removed: Sequence[str] = (), *, default: str = ""
) -> list[str]:
    """Return words that begin with a task or a verb as tasks, each with its options behind it.

    Args:
        words: What a person typed.
        names: All habitats, as their names are in tasks.
        removed: Habitats that were removed or renamed, which some verbs take.
        default: The habitat that a verb without a name means, if there are several; "" for none.

    Raises:
        InvalidCommand: A verb has no habitat, or there is no such habitat.
    """
    tasks: list[str] = []
    waiting = list(words)
    while waiting:
        word = waiting.pop(0)
        kind, _, name = word.partition(":")
        verb = layer_tests if kind == layer_tests.PHASE and _names_layer(waiting) else verb_named(kind)
        if verb is None:
            _check_order(word, waiting, names)
            tasks += _take_phase(word, waiting, names)
            continue
        if name:
            tasks += [f"{verb.NAME}:{name}", *_take_options(waiting, verb)]
        else:
            tasks += _take_verb(waiting, verb, names, removed if verb in FOR_REMOVED else (), default)
        if verb.WORDS:
            break
    return [*tasks, *waiting]


def _check_order(word: str, waiting: Sequence[str], names: Sequence[str]) -> None:
    """Raise InvalidCommand if a habitat is before its verb."""
    if word in names and waiting and (verb := verb_named(waiting[0])):
        raise InvalidCommand(f"a habitat goes behind the verb: `{command_form.verb(verb.NAME, word)}`")


def _names_layer(words: Sequence[str]) -> bool:
    """Return whether the words behind a task, up to the next one, have the option for a layer."""
    own = takewhile(lambda word: word != "--" and (is_option(word) or not (":" in word or verb_named(word))), words)
    return any(is_option(word) and length_of_option([word], parser_of(layer_tests)) for word in own)


def _take_phase(word: str, waiting: list[str], names: Sequence[str]) -> list[str]:
    """Return a task that is no verb, or one for each habitat that is named behind a phase, as in `setup web api`."""
    kind, _, name = word.partition(":")
    phase = PHASE_NAMES[-1] if kind == BUILD else kind
    if name:
        return [f"{phase}:{name}"]
    chosen: dict[str, None] = {}  # a set that keeps the order
    while phase in PHASE_NAMES and waiting and (habitats := named(waiting[0], names)):
        chosen.update(dict.fromkeys(habitats))
        del waiting[0]
    return [f"{phase}:{habitat}" for habitat in chosen] or [phase]


def chosen_habitats(words: Iterable[str], names: Sequence[str]) -> list[str]:
    """Return the habitats that words name, each once. Raises InvalidCommand for a word that names none."""
    chosen: dict[str, None] = {}
    for word in words:
        habitats = named(word, names)
        if not habitats:
            raise InvalidCommand(no_habitat(word, names))
        chosen.update(dict.fromkeys(habitats))
    return list(chosen)


def verb_named(kind: str) -> Verb | None:
    return next((verb for verb in VERBS if kind == verb.NAME), None)


def parser_of(verb: Verb) -> TaskParse:
    return TaskParse([CmdOption(option) for option in verb.OPTIONS])


def known_names(names: Iterable[str]) -> str:
    """Return the part of an error that lists the habitats, as many as fit."""
    options = [shortened(name) for name in sorted(names)]
    if not options:
        return f"there is no habitat yet, `{command_form.command('new', 'NAME')}` creates one"
    listed = options[:1]
    while len(listed) < len(options) and len(", ".join(options[: len(listed) + 1])) <= _MAX_NAMES:
        listed.append(options[len(listed)])
    more = f", … (`{command_form.command('list')}` shows all)" if listed < options else ""
    return f"known here: {', '.join(listed)}{more}"


def shortened(word: str) -> str:
    """Return a word of the command line as an error shows it."""
    return printable(word if len(word) < 100 else f"{word[:100]}…")


def _take_verb(waiting: list[str], verb: Verb, names: Sequence[str], removed: Sequence[str], default: str) -> list[str]:
    """Take the options and names behind a verb. Returns a task for each name, with all options."""
    options: list[str] = []
    chosen: dict[str, None] = {}  # a set that keeps the order
    while waiting and not (verb.WORDS and (chosen or waiting[0] == "--")):
        if waiting[0] == "--":
            del waiting[0]
        elif is_option(waiting[0]):
            options += _take_options(waiting, verb)
        elif verb is destroy and "*" in waiting[0] and ":" not in waiting[0]:
            raise InvalidCommand(refused_pattern(waiting[0], names))
        elif habitats := named(waiting[0], names) or [name for name in removed if name == waiting[0]]:
            chosen.update(dict.fromkeys(habitats))
            del waiting[0]
        elif _is_number(waiting[0], verb):
            options += _take_options(waiting, verb)
        elif ":" in waiting[0] or verb_named(waiting[0]):
            break  # the next task
        else:
            hint = " (a command goes behind --)" if verb.WORDS else ""
            raise InvalidCommand(no_habitat(waiting[0], names, hint))
    if not chosen and not (waiting and not verb.WORDS):
        chosen.update(dict.fromkeys(_default(verb, names, default)))
    if not chosen:
        raise InvalidCommand(needs_habitat(verb.NAME, names, *(("--", "COMMAND") if verb.WORDS else ())))
    return [word for name in chosen for word in (f"{verb.NAME}:{name}", *options)]


def _default(verb: Verb, names: Sequence[str], default: str) -> Sequence[str]:
    """Return the habitat that a verb without a name means. To destroy one, a person must name it."""
    return () if verb is destroy else default_habitat(names, default)


def default_habitat(names: Sequence[str], default: str) -> Sequence[str]:
    """Return the only habitat, else `default` if it is one, as a list; an empty one for neither."""
    return names if len(names) == 1 else [name for name in names if name == default]


def needs_habitat(command: str, names: Sequence[str], *words: str) -> str:
    """Return the error for a command without a habitat. words: What follows the habitat."""
    example = command_form.command(command, "NAME", *words)
    return f"{command} needs a habitat, as in `{example}`: {known_names(names)}"


def named(word: str, names: Sequence[str]) -> list[str]:
    """Return the habitats that a word names, several for a pattern with `*`."""
    if word in names:
        return [word]
    return fnmatch.filter(names, word) if "*" in word else [name for name in names if name == quoted(word)]


def refused_pattern(word: str, names: Iterable[str]) -> str:
    """Return the error about a pattern that would destroy several habitats."""
    return f"'{shortened(word)}' is a pattern, and destroy needs whole names: {known_names(names)}"


def no_habitat(word: str, names: Sequence[str], hint: str = "") -> str:
    """Return the error for a word that names no habitat."""
    return f"there is no habitat '{shortened(word)}'{hint}: {known_names(names)}"


def _take_options(waiting: list[str], verb: Verb) -> list[str]:
    """Take the options at the beginning, with their values. An unknown one is taken too, for doit to refuse."""
    taken: list[str] = []
    parser = parser_of(verb)
    while waiting and (is_option(waiting[0]) or _is_number(waiting[0], verb)):
        if _is_number(waiting[0], verb):
            taken += [f"--{NUMBER['long']}", waiting.pop(0)]
            continue
        count = length_of_option(waiting, parser) or 1
        taken += waiting[:count]
        del waiting[:count]
    return taken


def _is_number(word: str, verb: Verb) -> bool:
    """Return whether a word is the number of a container, for a verb that takes one."""
    return word.isdecimal() and word.isascii() and NUMBER in verb.OPTIONS


def is_option(word: str) -> bool:
    return word.startswith("-") and word not in {"-", "--"}


def length_of_option(words: Sequence[str], parser: CmdParse) -> int:
    """Return how many words the option at the beginning takes, with its value; 0 if the parser doesn't know it."""
    try:
        _, rest = getopt.getopt([words[0], "value"], parser.get_short(), parser.get_long())
    except getopt.GetoptError:
        return 0
    return 2 - len(rest)
