"""What all commands but `run` have in common: they print to stdout, which may be gone."""

from __future__ import annotations

import sys
from getopt import GetoptError
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
    """Of an option that it doesn't know doit lists the inside of all that it does."""
    cause = error.__context__
    said = cause if isinstance(cause, GetoptError) else str(error).rstrip(".")
    return InvalidCommand(f"{said}: `{help_command}` shows what it knows")


class Printing(DoitCmdBase):
    """A command whose lost output is one line, or none, and a failure."""

    def parse_execute(self, in_args: list[str]) -> int:
        try:
            return int(super().parse_execute(in_args))
        except CmdParseError as error:
            raise refused(error, f"doit help {self.name}") from error

    def execute(self, params: Any, args: list[str]) -> int:
        def command() -> int:
            self.outstream = sys.stdout
            return int(super(Printing, self).execute(params, args) or 0)

        listen(_tell)
        try:
            return output.printing(command)
        except KeyboardInterrupt:
            silence = unanswered()
            output.tell(f"\nstopped: {silence}" if silence else "\nstopped")
            return 130


def _tell(event: Event) -> None:
    """What a person should read while nothing else is printed: for whom, or for what, this waits."""
    if isinstance(event, Notice):
        output.tell(event.text)
