"""`forget [NAME or TASK…]`: have phases built again, even if nothing has changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from doit import cmd_forget
from doit.exceptions import InvalidCommand

from phases.core.errors import HabitatError
from phases.core.problems import with_count
from phases.registry import NAMES
from phases.ui.commands import selection
from phases.ui.commands.options import FROM, checked_phase, explained
from phases.ui.commands.printing import Printing
from phases.ui.tasks import current_project, parse_task, phase_named

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable


class Forget(Printing, cmd_forget.Forget):
    """Marks the stamp of each named phase as forgotten; with a habitat's name, of all its phases; without, of all.

    Later phases are built again anyway, so they need no mark.
    """

    doc_purpose = "make the next build run its phases again"
    doc_usage = "[NAME … | PHASE:NAME …] [--from PHASE]"
    example = ("forget", "api")
    cmd_options = (
        *explained(
            cmd_forget.Forget.cmd_options,
            {
                "forget_sub": "has no effect: later phases are built again anyway",
                "forget_disable_default": "has no effect",
                "forget_all": "forget every phase of every habitat, as without a name",
            },
        ),
        FROM,
    )

    def _execute(self, forget_sub: bool, forget_disable_default: bool, forget_all: bool, first: str) -> int:
        del forget_sub, forget_disable_default
        checked_phase(first, "--from")
        everything = forget_all or self.sel_default_tasks
        names = selection.habitats(self.task_list)
        words = names if everything else self.sel_tasks
        try:
            tasks = selection.expand([word for word in words if word not in names], self.task_list)
            for task in tasks:
                if phase_named(parse_task(task)[0]):
                    current_project().stamps.forget(task)
                    self.outstream.write(f"forgetting {task}\n")
            for task in forget_phases(self.task_list, [word for word in words if word in names], first):
                self.outstream.write(f"forgetting {task}\n")
        except HabitatError as error:
            raise InvalidCommand(with_count(error)) from error
        return 0


def forget_phases(task_list: Iterable[Any], habitats: Collection[str], first: str = "") -> list[str]:
    """Mark phases of habitats as forgotten, all or those from a phase on. Returns their tasks. Raises HabitatError."""
    kinds = NAMES[NAMES.index(first) if first else 0 :]
    parsed = [(task.name, *parse_task(task.name)) for task in task_list]
    tasks = [task for task, kind, name in parsed if kind in kinds and name in habitats]
    for task in tasks:
        current_project().stamps.forget(task)
    return tasks
