"""`doit new NAME`: make a habitat to start from."""

from __future__ import annotations

from doit.cmd_base import DoitCmdBase
from doit.exceptions import InvalidCommand

from phases.core import command_form
from phases.core.errors import HabitatError
from phases.core.scaffold import create
from phases.ui.commands.printing import Printing
from phases.ui.tasks import current_project

BASE = {
    "name": "base",
    "long": "base",
    "type": str,
    "default": create.DEFAULT_BASE,
    "metavar": "IMAGE",
    "help": "the image to start from",
}


class New(Printing, DoitCmdBase):
    """Writes a config.yaml with comments that explain it; builds nothing, and needs no engine."""

    doc_purpose = "create a habitat, with a commented config"
    doc_usage = "NAME [--base IMAGE] [--repo URL]…"
    example = ("new", "api", "--repo", "URL")
    doc_description = ""
    cmd_options = (
        BASE,
        {
            "name": "repo",
            "long": "repo",
            "type": list,
            "default": [],
            "metavar": "URL",
            "help": "a repository to clone; may be repeated",
        },
    )

    def _execute(self, base: str, repo: list[str], pos_args: list[str]) -> int:
        if len(pos_args) != 1:
            problem = "new takes one name" if pos_args else "new needs a name"
            raise InvalidCommand(f"{problem}: `{command_form.command('new', self.doc_usage)}`")
        (name,) = pos_args
        try:
            config = create.create(current_project().root, name, base, repo)
        except HabitatError as error:
            raise InvalidCommand(str(error)) from error
        self.outstream.write(f"created {config}: edit it, its comments explain each section\n")
        self.outstream.write(f"then `{command_form.verb('start', name)}` builds and starts it\n")
        return 0
