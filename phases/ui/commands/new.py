"""`habitat new NAME`: make a habitat to start from."""

from __future__ import annotations

from doit.cmd_base import DoitCmdBase
from doit.exceptions import InvalidCommand

from phases.core import command_form
from phases.core.errors import ConfigError, HabitatError, did_you_mean
from phases.core.scaffold import copy_habitat, create
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

EXTENDS = {
    "name": "extends",
    "long": "extends",
    "type": list,
    "default": [],
    "metavar": "A,B",
    "help": "agents, toolchains and services to build on, such as claude,python",
}


def names_in(extends: list[str]) -> list[str]:
    """Return the names that the values of `--extends` list."""
    return [part.strip() for text in extends for part in text.split(",") if part.strip()]


class New(Printing, DoitCmdBase):
    """Writes a config.yaml with comments that explain it; builds nothing, and needs no engine."""

    doc_purpose = "create a habitat, with a commented config"
    doc_usage = "NAME [--base IMAGE] [--extends A,B] [--repo URL]…"
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
        EXTENDS,
        {
            "name": "like",
            "long": "like",
            "type": str,
            "default": "",
            "metavar": "OTHER",
            "help": "copy the folder of another habitat",
        },
    )

    def _execute(self, base: str, repo: list[str], extends: list[str], like: str, pos_args: list[str]) -> int:
        if len(pos_args) != 1:
            problem = "new takes one name" if pos_args else "new needs a name"
            raise InvalidCommand(f"{problem}: `{command_form.command('new', self.doc_usage)}`")
        (name,) = pos_args
        try:
            if like:
                self._copy(name, like, base, repo, extends)
            else:
                config = create.create(current_project().root, name, base, repo, names_in(extends))
                self.outstream.write(f"created {config}: edit it, its comments explain each section\n")
        except HabitatError as error:
            raise InvalidCommand(str(error)) from error
        self.outstream.write(f"then `{command_form.verb('start', name)}` builds and starts it\n")
        return 0

    def _copy(self, name: str, other: str, base: str, repo: list[str], extends: list[str]) -> None:
        """Make a habitat like another one. Raises HabitatError."""
        given = {"--base": base != create.DEFAULT_BASE, "--repo": repo, "--extends": extends}
        if beside := next((option for option, is_given in given.items() if is_given), ""):
            problem = f"--like copies a config, and {beside} would change it"
            raise ConfigError(problem, remedy=f"leave out {beside}, and edit the new config")
        project = current_project()
        if other not in project.habitats.names:
            raise ConfigError(f"there is no habitat '{other}'", remedy=did_you_mean(other, project.habitats.names))
        config, left_out = copy_habitat.copy(project.root, name, project.habitat(other))
        self.outstream.write(f"created {config}, like {other}\n")
        if left_out:
            self.outstream.write(f"not copied, as data of {other} or a secret: {', '.join(left_out)}\n")
