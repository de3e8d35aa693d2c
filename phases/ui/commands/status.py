"""`habitat status [NAME…]`: show the state of habitats."""

from __future__ import annotations

import fnmatch
from typing import TYPE_CHECKING

from doit.exceptions import InvalidCommand

from phases.core import command_form
from phases.core.errors import HabitatError, did_you_mean, printable
from phases.core.report import status
from phases.ui import output
from phases.ui.commands.printing import Printing
from phases.ui.tasks import current_project

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from phases.core.report.states import Overview


class Status(Printing):
    """Prints a table, or a JSON document with the same content. Exit code 1 if no engine answers."""

    doc_purpose = "show phases, container and size of each"
    doc_usage = "[NAME …]"
    example = ("status",)
    cmd_options = (
        {
            "name": "json",
            "long": "json",
            "type": bool,
            "default": False,
            "help": "print one JSON document, with exact values",
        },
        {
            "name": "next",
            "long": "next",
            "type": bool,
            "default": False,
            "help": "also print what to type next, as without any command",
        },
    )

    def _execute(self, pos_args: list[str], json: bool, next: bool) -> int:  # noqa: A002 (the option's name)
        project = current_project()
        try:
            names = _selected(pos_args, project.habitats.names)
            overview = status.overview(project, names, with_orphans=not pos_args)
        except HabitatError as error:
            output.tell(f"ERROR: {error}")
            return 1
        if json:
            self.outstream.write(_json(overview))
        else:
            from phases.ui.status import table  # here: it loads rich

            table.show(overview, self.outstream)
            for habitat in overview.habitats:
                self.outstream.writelines(f"⚠ {habitat.name}: {text}\n" for text in habitat.notes)
            if next:
                self.outstream.write(_next_commands(project.habitats.names))
        self.outstream.flush()
        if overview.error:
            output.tell(f"ERROR: {overview.error}")
        return 1 if overview.error else 0


def _next_commands(names: Sequence[str]) -> str:
    rows = [(command_form.command("new", "NAME"), "creates a habitat")]
    if names:
        example = printable(names[0]) if len(names) == 1 else "NAME"
        rows = [
            (command_form.verb("start", example), "builds what changed, and runs its command"),
            (command_form.command("build"), "builds all, and starts none"),
        ]
    rows.append((command_form.command("help"), "lists all commands"))
    width = max(len(command) for command, _ in rows)
    return "".join(["\n", *(f"{command:<{width}}  {text}\n" for command, text in rows)])


def _selected(patterns: Iterable[str], names: Sequence[str]) -> list[str]:
    """Return the named habitats, with wildcards resolved; all if none is named.

    Raises:
        InvalidCommand: There is no such habitat.
    """
    patterns = list(patterns)
    for pattern in patterns:
        if not fnmatch.filter(names, pattern):
            shown = printable(pattern if len(pattern) < 100 else f"{pattern[:100]}…")
            raise InvalidCommand(f"there is no habitat '{shown}': {did_you_mean(pattern, map(printable, names))}")
    return [name for name in names if not patterns or any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)]


def _json(overview: Overview) -> str:
    import msgspec

    return msgspec.json.format(msgspec.json.encode(overview), indent=2).decode() + "\n"
