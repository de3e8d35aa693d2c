"""`doit new NAME`: create a habitat to begin with."""

from __future__ import annotations

import getopt

from doit.cmd_base import DoitCmdBase
from doit.exceptions import InvalidCommand

from phases.core.errors import HabitatError
from phases.core.scaffold import create
from phases.ui.commands.printing import Printing
from phases.ui.tasks import current_project


class New(Printing, DoitCmdBase):
    """Writes a config.yaml with comments. Builds nothing, and doesn't need the engine."""

    doc_purpose = "create habitats/NAME/config.yaml, with comments that explain it"
    doc_usage = "NAME [--base IMAGE] [--repo URL]…"
    doc_description = ""
    cmd_options = (
        {
            "name": "base",
            "long": "base",
            "type": str,
            "default": create.DEFAULT_BASE,
            "help": "the base image",
        },
        {
            "name": "repo",
            "long": "repo",
            "type": list,
            "default": [],
            "help": "clone this repository, and install git for it; may be repeated",
        },
    )

    def parse_execute(self, in_args: list[str]) -> int:
        """Accept options behind the name too, where doit would take them for names."""
        long = self.cmdparser.get_long()
        try:
            pairs, words = getopt.gnu_getopt(in_args, self.cmdparser.get_short(), long)
        except getopt.GetoptError as error:
            raise InvalidCommand(f"{error}: `doit new {self.doc_usage}`") from error
        options = [f"{name}={value}" if f"{name[2:]}=" in long else name + value for name, value in pairs]
        return int(super().parse_execute([*options, "--", *words]))

    def _execute(self, base: str, repo: list[str], pos_args: list[str]) -> int:
        if len(pos_args) != 1:
            problem = "a habitat has one name" if pos_args else "a habitat needs a name"
            raise InvalidCommand(f"{problem}: `doit new {self.doc_usage}`")
        (name,) = pos_args
        try:
            config = create.create(current_project().root, name, base, repo)
        except HabitatError as error:
            raise InvalidCommand(str(error)) from error
        self.outstream.write(f"wrote {config}: read it, and change what you like\n")
        self.outstream.write(f"then `doit start:{name}` builds it and starts it\n")
        return 0
