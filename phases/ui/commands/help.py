"""`help [COMMAND or VERB]`: show all commands in groups, or the usage and options of one."""

from __future__ import annotations

import sys
import textwrap
from typing import TYPE_CHECKING, Any

from doit import cmd_help, cmd_run
from doit.cmdparse import CmdOption

from phases.core import command_form
from phases.ui import output
from phases.ui.commands import selection
from phases.ui.commands.arguments import verb_named
from phases.ui.commands.printing import Printing
from phases.ui.verbs import layer_tests

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from phases.ui.verbs.verb import Verb

#: doit's commands that are of no use here: they concern its database, which this project doesn't use, or strace.
UNUSED = ("dumpdb", "reset-dep", "strace")

#: All verbs and commands, in groups.
GROUPS = {
    "Begin": ("init", "new", "migrate", "tabcompletion"),
    "Live with it": ("start", "shell", "exec", "login", "allow", "deny", "stop", "restore", "trust"),
    "Bring work home": ("changes", "fetch", "take", "send"),
    "Build": ("build", "rebuild", "test-layer", "debug", "forget", "clean"),
    "Look": ("status", "plan", "logs", "network", "list", "info", "schema", "help"),
    "Leave": ("prune", "destroy", "eject"),
}

#: The options of commands that build, by their names. doit has more, and other words for these.
OF_BUILDS = {
    "num_process": ("N", "build N habitats at a time"),
    "always": ("", "build every phase again"),
    "reporter": ("jsonl", "print events, one line of JSON each"),
    "outfile": ("FILE", "write what is printed into a file"),
}

#: The commands that only a person who knows doit looks for.
OF_DOIT = ("run", "ignore")

_WIDTH = 80
# The habitat of the examples.
_API = "api"
_MORE = """\
The habitat is `api` in these examples. Its name may be left out where a project
has one habitat, or one that is named like the project's folder. Several names
and patterns work: {several}.

`{program}` alone shows the state, and what to type next.

Exit code: 0 done, 1 failed (plan, info: a build would run something), 2 not
reached, 3 not understood, 128 + N ended by signal N. start, exec, shell,
login and debug end with the exit code of their command.
"""


class Help(Printing, cmd_help.Help):
    """Help for `doit` and `habitat`, each in its own form, without those of doit's commands that are of no use here."""

    doc_purpose = "show the options of a command"
    doc_usage = "[COMMAND]"
    example = ("help", "start")

    def execute(self, params: Any, args: list[str]) -> int:
        if not args:
            return output.printing(lambda: self.print_usage(self.cmds) or 0)
        name = args[0].partition(":")[0]
        if name == layer_tests.PHASE:
            name = layer_tests.NAME
        if verb := verb_named(name):
            return output.printing(lambda: sys.stdout.write(_page_of_verb(verb)) and 0)
        if name in self.cmds and name not in UNUSED:
            return output.printing(lambda: sys.stdout.write(self._page_of_command(name)) and 0)
        return super().execute(params, args[:1])

    def _execute(self, pos_args: list[str]) -> bool:
        """Show a phase, or refuse a word. For a result that is not true, doit shows all commands too."""
        selection.check(pos_args, self.task_list)
        return bool(super()._execute(pos_args))

    def _page_of_command(self, name: str) -> str:
        command = self.cmds[name](cmds=self._cmds, **self.init_kwargs)
        usage = command_form.command(name, command.doc_usage)
        return _page(
            usage, _purpose(self.cmds[name]), own_options(command), command_form.command(*_example(self.cmds[name]))
        )

    @staticmethod
    def print_usage(cmds: Mapping[str, Any]) -> None:
        """Print all commands, in groups, each with an example."""
        groups = {title: list(_rows(names, cmds)) for title, names in GROUPS.items()}
        if command_form.program() == command_form.DOIT:
            groups["As in every project of doit"] = list(_rows(OF_DOIT, cmds))
        width = max(len(example) for rows in groups.values() for example, _ in rows) + 4
        for title, rows in groups.items():
            lines = [line for row in rows for line in _columns(*row, width)]
            sys.stdout.write("\n".join([title, *lines, "", ""]))
        several = command_form.command("stop", "web", "'api-*'")
        sys.stdout.write(_MORE.format(several=several, program=command_form.program()))


def _rows(names: Iterable[str], cmds: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield an example and a description for each verb or command that there is."""
    for name in names:
        if verb := verb_named(name):
            yield _example_of_verb(verb), verb.DESCRIPTION
        elif name in cmds:
            yield command_form.command(*_example(cmds[name])), _purpose(cmds[name])


def _example_of_verb(verb: Verb) -> str:
    word, *rest = verb.EXAMPLE
    return command_form.verb(word, _API, *rest)


def _example(command: Any) -> tuple[str, ...]:
    """Return the words of a command's example. doit's own have none."""
    return getattr(command, "example", (command.get_name(), f"setup:{_API}"))


def _purpose(command: Any) -> str:
    text: str = command.doc_purpose
    return text[0].upper() + text[1:]


def own_options(command: Any) -> list[CmdOption]:
    """Return the options of a command, without those of doit's that are of no use here."""
    options = [option for option in command.cmdparser.options if option.section in ("", command.name)]
    if not isinstance(command, cmd_run.Run):
        return options
    doits = {option["name"] for option in cmd_run.Run.cmd_options}
    kept = [option for option in options if option.name not in doits or option.name in OF_BUILDS]
    for option in kept:
        option.metavar, option.help = OF_BUILDS.get(option.name, (option.metavar, option.help))
    return kept


def _page_of_verb(verb: Verb) -> str:
    options = [CmdOption(option) for option in verb.OPTIONS]
    shown = " ".join(f"[--{option.long}{_value(option)}]" for option in options)
    more = {"COMMAND": "-- COMMAND [ARG …]"}.get(str(verb.WORDS), verb.WORDS)
    words = [shown, str(more)] if more else [shown]
    names = "NAME" if verb.WORDS else "[NAME …]"
    word = verb.EXAMPLE[0]
    usage = command_form.command(word, names, *filter(None, words))
    return _page(usage, verb.DESCRIPTION, options, _example_of_verb(verb))


def _page(usage: str, purpose: str, options: Iterable[CmdOption], example: str) -> str:
    rows = [(_flags(option), option.help % {"default": option.default}) for option in options]
    width = max((len(flags) for flags, _ in rows), default=0) + 4
    lines = [line for row in rows for line in _columns(*row, width)]
    head = textwrap.wrap(usage, _WIDTH, subsequent_indent="    ")
    return "\n".join([*head, purpose, *lines, f"Example: {example}", ""])


def _flags(option: CmdOption) -> str:
    flags = [f"-{option.short}"] if option.short else []
    flags += [f"--{option.long}"] if option.long else []
    return ", ".join(f"{flag}{_value(option)}" for flag in flags)


def _value(option: CmdOption) -> str:
    return "" if option.type is bool else f" {option.metavar}"


def _columns(left: str, right: str, width: int) -> list[str]:
    """Return a row of two columns as lines; the right one is wrapped."""
    lines = textwrap.wrap(right, _WIDTH - width, break_on_hyphens=False) or [""]
    return [f"  {left if number == 0 else '':<{width - 2}}{text}".rstrip() for number, text in enumerate(lines)]
