"""What all commands but `run` have in common: they print to stdout, which may be gone."""

from __future__ import annotations

import sys
from typing import Any

from doit.cmd_base import DoitCmdBase

from phases.ui import output


class Printing(DoitCmdBase):
    """A command whose lost output is one line, or none, and a failure."""

    def execute(self, params: Any, args: list[str]) -> int:
        def command() -> int:
            self.outstream = sys.stdout
            return int(super(Printing, self).execute(params, args) or 0)

        try:
            return output.printing(command)
        except KeyboardInterrupt:
            output.tell("\nstopped")
            return 130
