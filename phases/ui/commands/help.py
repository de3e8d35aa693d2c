"""`doit help [COMMAND or TASK]`: show the commands, or the options of one."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from doit import cmd_help

from phases.registry import PHASES
from phases.ui import output
from phases.ui.commands import selection
from phases.ui.commands.printing import Printing
from phases.ui.tasks import is_verb
from phases.ui.verbs.registry import VERBS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

#: doit's commands that are of no use here: they concern its database, which this project doesn't use, or strace.
UNUSED = ("dumpdb", "reset-dep", "strace")

_PURPOSES = {"help": "show this, or the options of a command or a task", "ignore": "leave out a task in later runs"}

_MORE = """\
doit help COMMAND, doit help VERB:NAME   shows options, as in `doit help start:hello`
docs/commands.md                         explains all commands
"""


class Help(Printing, cmd_help.Help):
    """doit's `help`, with the verbs and without doit's own commands and options that are of no use here."""

    doc_purpose = _PURPOSES["help"]
    doc_usage = "[COMMAND | TASK]"

    def execute(self, params: Any, args: list[str]) -> int:
        args = args[:1] if args and is_verb(args[0]) else args  # the verb of `start hello`
        if len(args) != 1 or args[0] == "task":
            return output.printing(lambda: self.print_usage(self.cmds) or 0)
        if args[0] in self.cmds:
            return output.printing(lambda: self._print_options(args[0]))
        return super().execute(params, args)

    def _execute(self, pos_args: list[str]) -> bool:
        """Show a task's options. For a result that is not true, doit shows all commands too."""
        name = pos_args[0]
        tasks = [task.name for task in self.task_list]
        if is_verb(name):  # any habitat's will do: they have the same options
            name = next((task for task in tasks if task.startswith(f"{name}:")), name)
        selection.check([name], self.task_list)
        return bool(super()._execute([name]))

    def _print_options(self, name: str) -> int:
        command = self.cmds[name](cmds=self._cmds, **self.init_kwargs)
        own = [option for option in command.cmdparser.options if option.section in ("", name)]
        lines = [f"doit {name} {command.doc_usage}".rstrip(), *_sentences(self.cmds, [name]).values()]
        sys.stdout.write("\n".join([*lines, *(line for option in own for line in option.help_doc()), ""]))
        return 0

    @staticmethod
    def print_usage(cmds: Mapping[str, Any]) -> None:
        """Print what a person can type."""
        rows = [(f"{verb.NAME}:NAME", verb.DESCRIPTION) for verb in VERBS]
        _print_section("Do something with the habitat NAME", rows)
        first, last = PHASES[1].NAME, PHASES[-1].NAME
        rows = [("", "Build every habitat, start none"), (f"{last}:NAME", "Build the habitat NAME")]
        rows += [("PHASE:NAME", f"Build it up to a phase, {first} … {last}: `doit list` shows the phases")]
        _print_section("Build", rows)
        _print_section("Commands", _sentences(cmds, sorted({*cmds} - {*UNUSED})).items())
        sys.stdout.write(_MORE)


def _sentences(cmds: Mapping[str, Any], names: Iterable[str]) -> dict[str, str]:
    """Return what each command does."""
    purposes = {name: _PURPOSES.get(name, cmds[name].doc_purpose) for name in names}
    return {name: text[0].upper() + text[1:] for name, text in purposes.items()}


def _print_section(title: str, rows: Iterable[tuple[str, str]]) -> None:
    lines = [output.fitted(f"  {f'doit {name}':<22}{text}", 1, " " * 24) for name, text in rows]
    sys.stdout.write("\n".join([title, *lines, "", ""]))
