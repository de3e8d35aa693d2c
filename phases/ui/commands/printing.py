"""The base of all commands but `run`: they print to standard output, which may be closed or full."""

from __future__ import annotations

import sys
from getopt import GetoptError, gnu_getopt
from typing import TYPE_CHECKING, Any

from doit.cmd_base import DoitCmdBase
from doit.cmdparse import CmdParseError
from doit.exceptions import InvalidCommand

from phases.core import command_form
from phases.core.events import Notice
from phases.ui import output
from phases.ui.tasks import listen, unanswered

if TYPE_CHECKING:
    from doit.cmdparse import CmdParse

    from phases.core.events import Event


# Options that no error suggests: with them, a command stops, removes or agrees to something without a question.
_UNSAFE = ("--yes", "--force", "--remove")


def refused(error: Exception, parser: CmdParse, subject: str) -> InvalidCommand:
    """Return a short error for an unknown option. doit's own prints the internals of all that it knows.

    Args:
        error: The error of doit, or of getopt.
        parser: The parser that refused the option.
        subject: The command or verb that has the options.
    """
    cause = error if isinstance(error, GetoptError) else error.__context__
    problem = cause if isinstance(cause, GetoptError) else str(error).rstrip(".")
    near = _nearest(cause.opt, parser) if isinstance(cause, GetoptError) else ""
    # No person typed `run`, which is the command of `habitat` without a verb.
    lists = "lists all commands" if subject == "run" and command_form.program() == command_form.HABITAT else ""
    help_command = command_form.command("help") if lists else command_form.command("help", subject)
    return InvalidCommand(f"{problem}: {near}`{help_command}` {lists or 'lists the options'}")


def _nearest(name: str, parser: CmdParse) -> str:
    from difflib import get_close_matches

    known = ["--help", *(f"--{option.rstrip('=')}" for option in parser.get_long())]
    typed = f"--{name.lstrip('-')}"
    near = get_close_matches(typed, known, n=1, cutoff=0.75)
    return f"did you mean {near[0]}? " if near and near[0] not in (typed, *_UNSAFE) else ""


class Printing(DoitCmdBase):
    """A command that ends with one line, or none, and exit code 1 if its output can't be written."""

    def parse_execute(self, in_args: list[str]) -> int:
        try:
            return int(super().parse_execute(self._options_first(in_args)))
        except CmdParseError as error:
            raise refused(error, self.cmdparser, self.name) from error

    def _options_first(self, words: list[str]) -> list[str]:
        """Move options before the names, since doit takes what follows a name for names."""
        long = self.cmdparser.get_long()
        try:
            pairs, names = gnu_getopt(words, self.cmdparser.get_short(), long)
        except GetoptError as error:
            raise refused(error, self.cmdparser, self.name) from error
        options = [f"{name}={value}" if f"{name[2:]}=" in long else name + value for name, value in pairs]
        return [*options, "--", *names]

    def execute(self, params: Any, args: list[str]) -> int:
        def command() -> int:
            self.outstream = sys.stdout
            return int(super(Printing, self).execute(params, args) or 0)

        listen(_print_notice)
        try:
            return output.printing(command)
        except KeyboardInterrupt:
            silence = unanswered()
            output.tell(f"\nstopped: {silence}" if silence else "\nstopped")
            return 130


def _print_notice(event: Event) -> None:
    """Print notices, such as what the command waits for."""
    if isinstance(event, Notice):
        output.tell(event.text)
