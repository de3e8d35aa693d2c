"""`doit list`: what can be built and started, in the order of a life; what else, in a line below."""

from __future__ import annotations

import inspect
from typing import Any

from doit import cmd_list

from phases.ui import output
from phases.ui.commands import selection
from phases.ui.commands.printing import Printing
from phases.ui.tasks import current_project, description, is_verb, parse_task
from phases.ui.verbs import start
from phases.ui.verbs.registry import NAMES


class List(Printing, cmd_list.List):
    """doit's `list`, with each habitat's description or error, and a status for groups."""

    doc_purpose = "show phases and habitats, in the order of a life"

    _status = False

    def _execute(self, **options: Any) -> int:
        selection.check(options["pos_args"], self.task_list)
        self._status = options["status"]
        code = int(super()._execute(**options))
        if current_project().names and not any(options[key] for key in ("pos_args", "subtasks", "status", "template")):
            more = ", ".join(f"{name}:NAME" for name in NAMES if name != start.NAME)
            more = f"and {more}; `doit list --all` shows every task"
            self.outstream.write(f"\n{output.fitted(more, 1, '    ')}\n")
        return code

    def _list_all(self, include_subtasks: bool) -> list[Any]:
        """Of the verbs start alone, unless all are asked for; the others have no status."""
        tasks: list[Any] = super()._list_all(include_subtasks)
        kinds = {task.name: parse_task(task.name)[0] for task in tasks}
        if include_subtasks and not self._status:
            return tasks
        return [task for task in tasks if kinds[task.name] == start.NAME or not is_verb(kinds[task.name])]

    # doit finds out from its signature which options `_execute` takes.
    _execute.__signature__ = inspect.signature(cmd_list.List._execute)  # type: ignore[attr-defined]  # noqa: SLF001

    def _print_task(self, template: str, task: Any, status: bool, list_deps: bool, tasks: dict[str, Any]) -> None:
        kind, name = parse_task(task.name)
        if kind == start.NAME:
            task.doc = description(current_project(), name)
        if task.doc:
            # What is too long for a terminal goes on below where it begins; there is no other place for {doc}.
            before = template.partition("{doc}")[0].format(name=task.name, status=" ")
            task.doc = output.fitted(before + task.doc, 1, " " * len(before))[len(before) :]
        if status and (task.has_subtask or is_verb(kind)):
            # A group, or a start, is what it rests on.
            states = {self.dep_manager.get_status(tasks[dep], tasks).status for dep in task.task_dep}
            letter = "U" if states <= {"up-to-date"} else "R"
            self.outstream.write(template.format(name=task.name, doc=task.doc, status=letter))
            return
        super()._print_task(template, task, status, list_deps, tasks)
