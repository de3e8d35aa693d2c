"""`habitat list`: list phases and habitats in the order of a build, and the other verbs on one line."""

from __future__ import annotations

import inspect
from copy import copy
from typing import Any

from doit import cmd_list

from phases.core import command_form
from phases.ui import output
from phases.ui.commands import selection
from phases.ui.commands.options import explained
from phases.ui.commands.printing import Printing
from phases.ui.tasks import current_project, description, is_verb, parse_task
from phases.ui.verbs import start
from phases.ui.verbs.registry import NAMES


class List(Printing, cmd_list.List):
    """doit's `list`, with the description or error of each habitat, and a status for groups."""

    doc_purpose = "list phases and habitats"
    example = ("list",)
    cmd_options = explained(
        cmd_list.List.cmd_options,
        {
            "subtasks": "list every task: each phase and command of each habitat",
            "quiet": "print names only",
            "status": "begin each line with R (would run) or U (up to date)",
            "private": "list hidden tasks, too, which begin with _",
            "list_deps": "list the files that each task depends on, too",
            "template": "print each line in this form, such as '{name}: {doc}'",
            "sort": "sort by `name`, or by `definition`, which is the order of use",
        },
    )

    _status = False

    def _execute(self, **options: Any) -> int:
        selection.check(options["pos_args"], self.task_list)
        self._status = options["status"]
        code = int(super()._execute(**options))
        if current_project().habitats.names and not any(
            options[key] for key in ("pos_args", "subtasks", "status", "template")
        ):
            self.outstream.write(f"\n{output.fitted(_more(), 1, '    ')}\n")
        return code

    def _list_all(self, include_subtasks: bool) -> list[Any]:
        """Leave out all verbs but start, unless --all asks for them. With --status too: they have none."""
        tasks: list[Any] = super()._list_all(include_subtasks)
        kinds = {task.name: parse_task(task.name)[0] for task in tasks}
        if include_subtasks and not self._status:
            return tasks
        return [task for task in tasks if kinds[task.name] == start.NAME or not is_verb(kinds[task.name])]

    # doit passes the options that are in the signature of `_execute`.
    _execute.__signature__ = inspect.signature(cmd_list.List._execute)  # type: ignore[attr-defined]  # noqa: SLF001

    def _print_task(self, template: str, task: Any, status: bool, list_deps: bool, tasks: dict[str, Any]) -> None:
        kind, name = parse_task(task.name)
        if kind == start.NAME:
            task.doc = description(current_project(), name)
            if command_form.program() == command_form.HABITAT and not status:
                task = copy(task)
                task.name = name  # the phases above it are no tasks for this person either
        if task.doc:
            # A long description is wrapped on a terminal, and indented as far as the template puts {doc}.
            before = template.partition("{doc}")[0].format(name=task.name, status=" ")
            task.doc = output.fitted(before + task.doc, 1, " " * len(before))[len(before) :]
        if status and (task.has_subtask or is_verb(kind)):
            # A group, and start, are up to date if all that they depend on is.
            states = {self.dep_manager.get_status(tasks[dep], tasks).status for dep in task.task_dep}
            letter = "U" if states <= {"up-to-date"} else "R"
            self.outstream.write(template.format(name=task.name, doc=task.doc, status=letter))
            return
        super()._print_task(template, task, status, list_deps, tasks)


def _more() -> str:
    """Return the line below the list, which says what else there is."""
    help_command, all_tasks = command_form.command("help"), command_form.command("list", "--all")
    if command_form.program() == command_form.HABITAT:
        return f"`{help_command}` lists all commands, `{all_tasks}` all tasks of doit"
    verbs = ", ".join(f"{name}:NAME" for name in NAMES if name != start.NAME)
    return f"and {verbs}: `{help_command}` explains them, `{all_tasks}` shows every task"
