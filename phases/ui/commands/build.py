"""`build [NAME…]` and `rebuild NAME…`: build habitats, and start none."""

from __future__ import annotations

from typing import Any

from doit.exceptions import InvalidCommand

from phases.registry import NAMES
from phases.ui.commands import arguments, selection
from phases.ui.commands.forget import forget_phases
from phases.ui.commands.options import FROM, TO, checked_phase
from phases.ui.commands.run import RunCommand
from phases.ui.tasks import parse_task


class BuildCommand(RunCommand):
    """Builds the named habitats; without a name, every habitat."""

    name = "build"
    doc_purpose = "build all habitats or some, start none"
    doc_usage = "[NAME …] [--to PHASE]"
    example = ("build", "api", "--to", "setup")
    cmd_options = (*RunCommand.cmd_options, TO)

    _last = NAMES[-1]

    def execute(self, params: Any, args: list[str]) -> int:
        self._last = checked_phase(params["to"]) or NAMES[-1]
        return super().execute(params, args)

    def _tasks(self, words: list[str]) -> list[str]:
        names = selection.habitats(self.task_list)
        if not names:
            raise InvalidCommand(arguments.known_names(names))
        if words:
            return [f"{self._last}:{name}" for name in arguments.chosen_habitats(words, names)]
        tasks = [(task.name, *parse_task(task.name)) for task in self.task_list]
        return [task for task, kind, name in tasks if kind == self._last and name in names]


class RebuildCommand(BuildCommand):
    """Builds phases again, even if nothing has changed. Needs the name of a habitat, unless there is only one."""

    name = "rebuild"
    doc_purpose = "build again, even if nothing has changed"
    doc_usage = "[NAME …] [--from PHASE] [--to PHASE]"
    example = ("rebuild", "api", "--from", "setup")
    cmd_options = (*BuildCommand.cmd_options, FROM)

    _first = ""

    def execute(self, params: Any, args: list[str]) -> int:
        self._first = checked_phase(params["first"], "--from")
        return super().execute(params, args)

    def _tasks(self, words: list[str]) -> list[str]:
        names = selection.habitats(self.task_list)
        words = words or list(arguments.default_habitat(names, selection.default_habitat()))
        if not words:
            raise InvalidCommand(arguments.needs_habitat(self.name, names))
        tasks = super()._tasks(words)
        self._check_order()
        selection.check(tasks, self.task_list)
        forget_phases(self.task_list, [parse_task(task)[1] for task in tasks], self._first)
        return tasks

    def _check_order(self) -> None:
        if self._first and NAMES.index(self._first) > NAMES.index(self._last):
            raise InvalidCommand(f"--from {self._first} is behind --to {self._last}: name an earlier phase")
