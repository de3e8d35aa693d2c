"""`habitat info TASK`: show whether a phase is up to date, and why not."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from doit import cmd_info
from doit.exceptions import InvalidCommand

from phases.core import command_form
from phases.ui.commands import selection
from phases.ui.commands.options import explained
from phases.ui.commands.printing import Printing
from phases.ui.tasks import parse_task, phase_named

if TYPE_CHECKING:
    from phases.ui.tasks import Freshness


def _shared(check: Freshness) -> str:
    """Return which habitat's snapshot the phase would take over instead of running, "" if none's."""
    from phases.core.build.shared_builds import SharedSnapshots  # here: few commands need it

    shared = None if check.error else SharedSnapshots(check.project).shareable(check.habitat).get(check.phase.NAME)
    return f"; the snapshot of {shared.habitat} is reused instead" if shared else ""


class Info(Printing, cmd_info.Info):
    """doit's `info` for phases, with a line for each reason and the file of the values that the phase reads.

    Exit code 1 if the phase would run.
    """

    doc_purpose = "show whether a phase is up to date"
    doc_usage = "PHASE:NAME"
    example = ("info", "setup:api")
    cmd_options = explained(cmd_info.Info.cmd_options, {"hide_status": "leave out whether and why it would run"})

    def _execute(self, pos_args: list[str], hide_status: bool = False) -> int:
        selection.check(pos_args, self.task_list)
        if len(pos_args) != 1 or not phase_named(parse_task(pos_args[0])[0]):
            raise InvalidCommand(f"info takes one phase of a habitat, as in `{command_form.command(*self.example)}`")
        tasks = {task.name: task for task in self.task_list}
        task = tasks[pos_args[0]]
        self.outstream.write(f"\n{task.name}\n\n{task.doc}\n")
        code = 0 if hide_status else self._write_status(task, tasks)
        rows = {"values": [path for path in task.file_dep if Path(path).is_file()], "follows": task.task_dep}
        for title, entries in rows.items():
            if entries:
                self.outstream.write(f"{title:<11}: {', '.join(entries)}\n")
        return code

    def _write_status(self, task: Any, tasks: dict[str, Any]) -> int:
        """Print whether the phase is up to date, and why not. Returns the exit code."""
        status = self.dep_manager.get_status(task, tasks, get_log=True)
        self.outstream.write(f"\n{'status':<11}: {status.status}\n")
        if status.status == "up-to-date":
            return 0
        self.outstream.write(f"{self.get_reasons(status.reasons)}\n")
        return 1

    @staticmethod
    def get_reasons(reasons: dict[str, Any]) -> str:
        ours = [f" * {check!r}{_shared(check)}" for check, _, _ in reasons.pop("uptodate_false", [])]
        if ours:
            # The file_dep is the slice, which is rewritten when its hash changes: the same reason in other words.
            reasons.pop("changed_file_dep", None)
        theirs = cmd_info.Info.get_reasons(
            {**dict.fromkeys(("has_no_dependencies", "uptodate_false", "checker_changed")), **reasons}
        )
        return "\n".join([*ours, *([theirs] if theirs else [])])
