"""`init [NAME]`: make this repository a project."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from doit.exceptions import InvalidCommand

from phases.core import command_form, layout
from phases.core.errors import HabitatError
from phases.core.files import git_bundle
from phases.core.scaffold import create, init
from phases.ui import output, plugins, question
from phases.ui.commands.new import BASE, EXTENDS, names_in
from phases.ui.commands.printing import Printing


class Init(Printing):
    """Writes `.habitats/`, and touches nothing else. It builds nothing, and needs neither a project nor an engine."""

    doc_purpose = "make this repository a project"
    doc_usage = "[NAME] [--base IMAGE] [--extends A,B] [--doit]"
    example = ("init",)
    doc_description = ""
    cmd_options = (
        BASE,
        EXTENDS,
        {
            "name": "doit",
            "long": "doit",
            "type": bool,
            "default": False,
            "help": "write dodo.py and doit.cfg too, so that doit works here; also in a project",
        },
    )

    def execute(self, params: Any, args: list[str]) -> int:
        """Run without loading tasks, which need a project."""
        if len(args) > 1:
            raise InvalidCommand(f"init takes one name: `{command_form.command('init', self.doc_usage)}`")
        try:
            return output.printing(lambda: self._init(Path.cwd(), "".join(args), params))
        except HabitatError as error:
            raise InvalidCommand(str(error)) from error

    def _init(self, folder: Path, name: str, params: Any) -> int:
        base, extends, doit = params["base"], names_in(params["extends"]), params["doit"]
        is_plain = not name and not extends and base == create.DEFAULT_BASE
        root = layout.find_root(folder) if doit and is_plain else None
        if not root:
            root = init.root_for(folder)
            name = name or init.name_for(root)
            if doit:
                init.check_doit_files(root, plugins.SETTINGS)
            config = init.create(root, name, base, extends)
            sys.stdout.write(f"created {config}: edit it, its comments explain each section\n")
            if problem := init.is_repository(root) and git_bundle.problem(root):
                sys.stdout.write(f"{problem}\n")
            if not init.is_repository(root):
                sys.stdout.write(f"{root} is no git repository, so the habitat has no clone: `repos:` can name one\n")
            _ask_identity(root)
            sys.stdout.write(f"then `{command_form.verb('start', name)}` builds and starts it\n")
        if doit:
            init.write_doit_files(root, plugins.SETTINGS)
            sys.stdout.write(f"created dodo.py and doit.cfg: `doit start:{name or 'NAME'}` works in {root}, too\n")
            sys.stdout.write(
                "if doit has an environment of its own, as pipx makes one, install this package there too\n"
            )
        return 0


def _ask_identity(root: Path) -> None:
    """Ask who makes commits in habitats, if nothing on this machine says it, and write it into the personal config."""
    from phases.core.scaffold import personal_identity  # imported late, for a person whose git has no name

    if not personal_identity.is_missing(root):
        return
    answers = {}
    for key, text in (("name", "Your name, for commits in habitats (empty for none)"), ("e-mail", "Your e-mail")):
        if not (answer := question.ask_for_text(text)):
            return
        personal_identity.check(key, answer)
        answers[key] = answer
    shown = personal_identity.write(*answers.values())
    sys.stdout.write(f"wrote your name into {shown}, the config of all your habitats\n")
