"""`tabcompletion`: print a script for bash or zsh that completes the words of `doit` or of `habitat`."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from doit import cmd_completion
from doit.exceptions import InvalidCommand

from phases.core import command_form
from phases.core.errors import printable
from phases.registry import PHASES
from phases.ui import output
from phases.ui.commands.help import OF_DOIT, UNUSED, own_options
from phases.ui.verbs import layer_tests
from phases.ui.verbs.registry import VERBS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


_SCRIPTS = Path(__file__).resolve().parent.parent / "completion"

_SHELLS = ("bash", "zsh")

# doit's option, without its choices: its error lists them as Python does.
_SHELL = {
    **{key: value for key, value in cmd_completion.opt_shell.items() if key != "choices"},
    "metavar": "SHELL",
    "help": "bash, the default, or zsh",
}

# A word to complete, and its help.
Row = tuple[str, str]


class TabCompletion(cmd_completion.TabCompletion):
    """Prints a script that contains commands, phases, verbs and options, and finds habitats by their folders.

    doit's own script runs `doit list` at each key, doesn't complete verbs, and takes every line of the list for a task.
    """

    doc_purpose = "print a script for bash or zsh"
    doc_usage = "[--shell bash|zsh]"
    example = ("tabcompletion", "--shell", "zsh")
    cmd_options = (_SHELL,)

    def execute(self, opt_values: dict[str, Any], pos_args: list[str]) -> int:
        del pos_args
        if opt_values["shell"] not in _SHELLS:
            problem = f"--shell: there is no completion for '{printable(opt_values['shell'])}'"
            raise InvalidCommand(f"{problem}: known here: {', '.join(_SHELLS)}")
        text = script(opt_values["shell"], self._lists())
        return output.printing(lambda: sys.stdout.write(text) and 0)

    def _lists(self) -> Iterator[tuple[str, list[Row]]]:
        names = sorted(set(self.cmds) - set(UNUSED))
        own = [(name, self.cmds[name].doc_purpose) for name in names]
        yield "phases", [(phase.NAME, phase.DESCRIPTION) for phase in PHASES]
        if command_form.program() == command_form.HABITAT:
            # `test` is a verb with an option, and a phase without.
            verbs = [(verb.EXAMPLE[0], verb.DESCRIPTION) for verb in VERBS]
            yield "commands", sorted([*verbs, *(row for row in own if row[0] not in OF_DOIT)])
        else:
            yield "verbs", [(verb.NAME, verb.DESCRIPTION) for verb in VERBS]
            yield "commands", own
        yield "layers", [(layer, f"the tests of {folder}") for layer, folder in layer_tests.LAYERS.items()]
        yield "shells", [(shell, f"a script for {shell}") for shell in _SHELLS]
        for verb in VERBS:
            for name in dict.fromkeys((verb.NAME, verb.EXAMPLE[0])):
                yield f"options of {name}", [(f"--{option['long']}", option["help"]) for option in verb.OPTIONS]
        for name in names:
            options = own_options(self.cmds[name](**self.init_kwargs))
            yield f"options of {name}", [(f"--{option.long}", option.help) for option in options if option.long]


def script(shell: str, lists: Iterable[tuple[str, list[Row]]]) -> str:
    program = command_form.program()
    lines = [
        *([f"#compdef {program}"] if shell == "zsh" else []),
        f"# {shell} completion of {program}, made by `{program} tabcompletion --shell {shell}`.",
        "",
        "# Prints words to complete, one on each line, with a tab and its help behind it.",
        f"_{program}_known() {{",
        '    case "$1" in',
        *(line for name, rows in lists if rows for line in _case(name, rows)),
        "    esac",
        "}",
        "",
    ]
    return "\n".join(lines) + "\n" + (_SCRIPTS / f"{program}.{shell}").read_text(encoding="utf-8")


def _case(name: str, rows: Iterable[Row]) -> Iterator[str]:
    yield f"    {shlex.quote(name)})"
    for word, text in rows:
        first = " ".join(text.replace("%(default)s", "").split("\n")[0].split())
        yield f"        printf '%s\\t%s\\n' {word} {shlex.quote(first)}"
    yield "        ;;"
