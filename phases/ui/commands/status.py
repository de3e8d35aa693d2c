"""`doit status [NAME…]`: how the habitats are."""

from __future__ import annotations

import fnmatch
from typing import TYPE_CHECKING

from doit.exceptions import InvalidCommand

from phases.core.errors import HabitatError, did_you_mean, printable
from phases.core.report import status
from phases.ui import output
from phases.ui.commands.printing import Printing
from phases.ui.tasks import current_project

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class Status(Printing):
    """A table for people, or one JSON document; both say the same. Exit code 1 where no engine answers."""

    doc_purpose = "show how the habitats are: phases, container, size, age of the base image"
    doc_usage = "[NAME …]"
    cmd_options = (
        {
            "name": "json",
            "long": "json",
            "type": bool,
            "default": False,
            "help": "print one JSON document, with exact values",
        },
    )

    def _execute(self, pos_args: list[str], json: bool) -> int:
        project = current_project()
        try:
            found = status.overview(project, _selected(pos_args, project.names))
        except HabitatError as error:
            output.tell(f"ERROR: {error}")
            return 1
        if json:
            self.outstream.write(_json(found))
        else:
            # Here, so that JSON doesn't load rich.
            from phases.ui import status_table

            status_table.show(found, self.outstream)
        self.outstream.flush()
        if found.error:
            output.tell(f"ERROR: {found.error}")
        return 1 if found.error else 0


def _selected(patterns: Iterable[str], names: Sequence[str]) -> list[str]:
    """The named habitats, wildcards resolved, all where none is named. Raises InvalidCommand."""
    patterns = list(patterns)
    for pattern in patterns:
        if not fnmatch.filter(names, pattern):
            shown = printable(pattern if len(pattern) < 100 else f"{pattern[:100]}…")
            raise InvalidCommand(f"there is no habitat '{shown}': {did_you_mean(pattern, map(printable, names))}")
    return [name for name in names if not patterns or any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)]


def _json(found: status.Overview) -> str:
    import msgspec

    return msgspec.json.format(msgspec.json.encode(found), indent=2).decode() + "\n"
