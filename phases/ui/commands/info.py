"""`doit info TASK`: whether a phase is up to date, and why not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from doit import cmd_info

from phases.ui.commands import selection
from phases.ui.commands.printing import Printing

if TYPE_CHECKING:
    from phases.ui.tasks import Freshness


def _instead(check: Freshness) -> str:
    """What is done where nothing has to be built for it."""
    from phases.core.build.shared_builds import SharedSnapshots  # here: few commands need it

    found = None if check.error else SharedSnapshots(check.project).shareable(check.habitat).get(check.phase.NAME)
    return f"; {found.habitat} has what it would build, which is taken over" if found else ""


class Info(Printing, cmd_info.Info):
    """doit's `info`, with our reasons as plain lines. Exit code 1 when the task would run."""

    doc_purpose = "say whether a phase is up to date, and why not"

    def _execute(self, pos_args: list[str], hide_status: bool = False) -> int:
        selection.check(pos_args, self.task_list)
        return int(super()._execute(pos_args, hide_status))

    @staticmethod
    def get_reasons(reasons: dict[str, Any]) -> str:
        ours = [f" * {check!r}{_instead(check)}" for check, _, _ in reasons.pop("uptodate_false", [])]
        if ours:
            # The slice is rewritten when the hash changes, so doit would only say the same again.
            reasons.pop("changed_file_dep", None)
        theirs = cmd_info.Info.get_reasons(
            {**dict.fromkeys(("has_no_dependencies", "uptodate_false", "checker_changed")), **reasons}
        )
        return "\n".join([*ours, *([theirs] if theirs else [])])
