"""`doit forget [TASK…]`: build phases again, whatever the labels say."""

from __future__ import annotations

from typing import Any

from doit import cmd_forget
from doit.cmd_base import subtasks_iter
from doit.exceptions import InvalidCommand

from phases.core.errors import HabitatError, did_you_mean
from phases.ui.tasks import current_project, parse_task


class Forget(cmd_forget.Forget):
    """Leaves a forgotten stamp for each named phase; without a name, for every phase of every habitat.

    What comes after a forgotten phase is built again anyway, so only the named ones are marked.
    """

    def _execute(self, forget_sub: bool, forget_disable_default: bool, forget_all: bool) -> int:
        del forget_sub, forget_disable_default
        tasks: dict[str, Any] = {task.name: task for task in self.task_list}
        chosen = list(tasks) if forget_all or self.sel_default_tasks else self.sel_tasks
        for name in chosen:
            if name not in tasks:
                raise InvalidCommand(f"there is no task '{name}': {did_you_mean(name, tasks)}")
        names = [name for one in chosen for name in (one, *(task.name for task in subtasks_iter(tasks, tasks[one])))]
        try:
            for name in dict.fromkeys(names):
                if parse_task(name)[0] in ("", "start"):
                    continue
                current_project().stamps.forget(name)
                self.outstream.write(f"forgetting {name}\n")
        except HabitatError as error:
            raise InvalidCommand(str(error)) from error
        return 0
