"""What all commands but `run` have in common: they print to stdout, which may be gone."""

from __future__ import annotations

import sys
from getopt import GetoptError
from typing import Any

from doit.cmd_base import DoitCmdBase
from doit.cmdparse import CmdParseError
from doit.exceptions import InvalidCommand

from phases.ui import output


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

        try:
            return output.printing(command)
        except KeyboardInterrupt:
            output.tell("\nstopped")
            return 130
