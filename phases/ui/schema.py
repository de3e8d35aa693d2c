"""`schema`: print the JSON Schema of a config.yaml, for editors."""

from __future__ import annotations

import sys
from typing import Any

from doit.exceptions import InvalidCommand

from phases.core import command_form
from phases.core.scaffold import editor_schema
from phases.ui import output
from phases.ui.commands.printing import Printing


class Schema(Printing):
    """Prints the schema that comes with the program. It needs neither a project nor an engine."""

    doc_purpose = "print the JSON Schema of config.yaml"
    doc_usage = "[--personal] [--path]"
    example = ("schema",)
    doc_description = ""
    cmd_options = (
        {
            "name": "personal",
            "long": "personal",
            "type": bool,
            "default": False,
            "help": "that of your personal config",
        },
        {
            "name": "path",
            "long": "path",
            "type": bool,
            "default": False,
            "help": "print where its file is, which an editor may read",
        },
    )

    def execute(self, params: Any, args: list[str]) -> int:
        """Run without loading tasks, which need a project."""
        if args:
            raise InvalidCommand(f"schema takes no name: `{command_form.command('schema', self.doc_usage)}`")
        file = editor_schema.PERSONAL if params["personal"] else editor_schema.CONFIG
        text = f"{file}\n" if params["path"] else file.read_text(encoding="utf-8")
        return output.printing(lambda: sys.stdout.write(text) and 0)
