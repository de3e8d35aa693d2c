"""Words of a command line that don't begin with the command: options before it, and `--help` anywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from doit.cmd_run import Run
from doit.cmdparse import CmdOption, CmdParse

from phases.ui import plugins
from phases.ui.commands.arguments import is_option, length_of_option, verb_named
from phases.ui.commands.options import FROM, TO
from phases.ui.verbs.registry import VERBS

if TYPE_CHECKING:
    from collections.abc import Sequence

_HELP = ("-h", "--help")


def command_first(words: Sequence[str]) -> list[str]:
    """Return the words with the command or verb first, or as `help COMMAND` if they have `-h` or `--help`."""
    first, is_help = _scan(words)
    known = first is not None and _is_known(words[first])
    if is_help:
        return ["help", *([words[first]] if first is not None and known else [])]
    if first is None or not known or _takes_command(words[first]):
        return list(words)
    return [words[first], *words[:first], *words[first + 1 :]]


def _scan(words: Sequence[str]) -> tuple[int | None, bool]:
    """Return the position of the first word that is no option, and whether the words ask for help.

    The words of a command in the habitat, as in `exec NAME ls -h`, ask for nothing.
    """
    parser = _parser()
    plain: list[int] = []
    is_help = False
    position = 0
    while position < len(words) and words[position] != "--":
        word = words[position]
        is_help = is_help or word in _HELP
        if is_option(word):
            position += length_of_option(words[position:], parser) or 1
            continue
        plain.append(position)
        kind, colon, _ = words[plain[0]].partition(":")
        verb = verb_named(kind)
        if verb and verb.WORDS and len(plain) + bool(colon) > 2:  # the verb, its habitat, and a command
            break
        position += 1
    return next(iter(plain), None), is_help


def _takes_command(word: str) -> bool:
    """Return whether the words behind a verb are those of a command: its own options are then before it."""
    verb = verb_named(word.partition(":")[0])
    return bool(verb and verb.WORDS)


def _is_known(word: str) -> bool:
    return word in plugins.COMMANDS or verb_named(word.partition(":")[0]) is not None


def _parser() -> CmdParse:
    """Return a parser of the options that may have a value, of all verbs and of a run."""
    options = [*Run.cmd_options, *(option for verb in VERBS for option in verb.OPTIONS), TO, FROM]
    return CmdParse([CmdOption(option) for option in options])
