"""`doit TASK…`: run tasks, and end in order when told to stop."""

from __future__ import annotations

import signal
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from doit import cmd_run
from doit.exceptions import InvalidCommand

from phases.core.errors import HabitatError
from phases.ui.commands import selection
from phases.ui.tasks import current_project

if TYPE_CHECKING:
    from collections.abc import Iterator


class Interrupted(KeyboardInterrupt):
    """A signal asked to stop. number: which."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


class Run(cmd_run.Run):
    """doit's `run`, with one line for what a person or the world did, and no build container left.

    Exit code: 0; 1 when a task failed; 2 when others had to wait for it in vain; 3 when there was
    no such task; 128 + n when signal n ended it.
    """

    def execute(self, params: Any, args: list[str]) -> int:
        try:
            with _signals():
                code = int(super().execute(params, args))
            current_project().close()
        except Interrupted as stop:
            at = ", ".join(current_project().close())
            where = f"stopped in {at}" if at else "stopped"
            sys.stderr.write(f"\n{where}: what was built is kept, the next run goes on from there\n")
            return 128 + stop.number
        except HabitatError as error:
            sys.stderr.write(f"ERROR: {error}\n")
            return 1
        except InvalidCommand as error:
            if error.not_found:
                selection.check([error.not_found], self.task_list)
            raise
        return code


@contextmanager
def _signals() -> Iterator[None]:
    """SIGINT, SIGTERM and SIGHUP as one exception, so that containers are removed on the way out."""

    def stop(number: int, _frame: object) -> None:
        raise Interrupted(number)

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
