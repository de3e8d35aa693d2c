"""The base of all commands but `run`: they print to standard output, which may be closed or full."""

from __future__ import annotations

import sys
from getopt import GetoptError, gnu_getopt
from typing import TYPE_CHECKING, Any

from doit.cmd_base import DoitCmdBase
from doit.cmdparse import CmdParseError
from doit.exceptions import InvalidCommand

from phases.core.events import Notice
from phases.ui import output
from phases.ui.tasks import listen, unanswered

if TYPE_CHECKING:
    from phases.core.events import Event


def refused(error: CmdParseError, help_command: str) -> InvalidCommand:
    """Return a short error for an unknown option. doit's own prints the internals of all that it knows."""
    cause = error.__context__
    problem = cause if isinstance(cause, GetoptError) else str(error).rstrip(".")
    return InvalidCommand(f"{problem}: `{help_command}` lists the options")


class Printing(DoitCmdBase):
    """A command that ends with one line, or none, and exit code 1 if its output can't be written."""

    def parse_execute(self, in_args: list[str]) -> int:
        try:
            return int(super().parse_execute(self._options_first(in_args)))
        except CmdParseError as error:
            raise refused(error, f"doit help {self.name}") from error

    def _options_first(self, words: list[str]) -> list[str]:
        """Move options before the names, since doit takes what follows a name for names."""
        long = self.cmdparser.get_long()
        try:
            pairs, names = gnu_getopt(words, self.cmdparser.get_short(), long)
        except GetoptError as error:
            raise InvalidCommand(f"{error}: `doit help {self.name}` lists the options") from error
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
