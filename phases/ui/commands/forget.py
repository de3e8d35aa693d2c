"""`doit forget [TASK…]`: have phases built again, even if nothing has changed."""

from __future__ import annotations

from doit import cmd_forget
from doit.exceptions import InvalidCommand

from phases.core.errors import HabitatError
from phases.core.problems import with_count
from phases.ui.commands import selection
from phases.ui.commands.printing import Printing
from phases.ui.tasks import current_project, parse_task, phase_named


class Forget(Printing, cmd_forget.Forget):
    """Marks the stamp of each named phase as forgotten; without a name, of every phase of every habitat.

    Later phases are built again anyway, so they need no mark.
    """

    doc_purpose = "make the next run build phases again, even if nothing has changed"

    def _execute(self, forget_sub: bool, forget_disable_default: bool, forget_all: bool) -> int:
        del forget_sub, forget_disable_default
        everything = forget_all or self.sel_default_tasks
        names = [task.name for task in self.task_list] if everything else self.sel_tasks
        try:
            for task in selection.expand(names, self.task_list):
                if phase_named(parse_task(task)[0]):
                    current_project().stamps.forget(task)
                    self.outstream.write(f"forgetting {task}\n")
        except HabitatError as error:
            raise InvalidCommand(with_count(error)) from error
        return 0
