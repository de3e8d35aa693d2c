"""`doit info TASK`: show whether a phase is up to date, and why not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from doit import cmd_info

from phases.ui.commands import selection
from phases.ui.commands.options import explained
from phases.ui.commands.printing import Printing

if TYPE_CHECKING:
    from phases.ui.tasks import Freshness


def _shared(check: Freshness) -> str:
    """Return which habitat's snapshot the phase would take over instead of running, "" if none's."""
    from phases.core.build.shared_builds import SharedSnapshots  # here: few commands need it

    shared = None if check.error else SharedSnapshots(check.project).shareable(check.habitat).get(check.phase.NAME)
    return f"; the snapshot of {shared.habitat} is reused instead" if shared else ""


class Info(Printing, cmd_info.Info):
    """doit's `info`, with a line for each reason. Exit code 1 if the task would run."""

    doc_purpose = "show whether a phase is up to date"
    doc_usage = "PHASE:NAME"
    example = ("info", "setup:api")
    cmd_options = explained(cmd_info.Info.cmd_options, {"hide_status": "leave out whether and why it would run"})

    def _execute(self, pos_args: list[str], hide_status: bool = False) -> int:
        selection.check(pos_args, self.task_list)
        return int(super()._execute(pos_args, hide_status))

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
