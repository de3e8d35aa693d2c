"""`doit clean [TASK…]`: take back what was built."""

from __future__ import annotations

from typing import Any

from doit import cmd_clean
from doit.exceptions import InvalidCommand

from phases.core.errors import HabitatError
from phases.ui.tasks import current_project


class Clean(cmd_clean.Clean):
    """Without a task: every snapshot, stamp, slice and log of every habitat, but no container that
    a person started. With tasks it is doit's own, which asks each task to clean itself.
    """

    def _execute(
        self,
        dryrun: bool,
        cleandep: bool,
        cleanall: bool,
        cleanforget: bool,
        pos_args: Any = None,
    ) -> int:
        try:
            if pos_args and not cleanall:
                super()._execute(dryrun, cleandep, cleanall, cleanforget, pos_args)
            else:
                self._clean_all(dryrun=dryrun)
        except HabitatError as error:
            raise InvalidCommand(str(error)) from error
        return 0

    def _clean_all(self, *, dryrun: bool) -> None:
        project = current_project()
        for name in project.cleanable():
            kept = project.containers_of(name)
            verb = "would remove" if dryrun else "removed"
            count = project.store.count(name) if dryrun else project.clean_all(name)
            if count:
                self.outstream.write(f"{name}: {verb} {count} image{'' if count == 1 else 's'}\n")
            for container in kept:
                self.outstream.write(
                    f"{name}: container {container} stays, with its image; when you need nothing of it: "
                    f"docker rm {container} && doit clean\n"
                )
