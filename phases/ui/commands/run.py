"""`doit TASK…`: run tasks. A signal ends the run and removes its build containers."""

from __future__ import annotations

import inspect
import os
import signal
import sys
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from doit import cmd_run
from doit.cmdparse import CmdParseError
from doit.exceptions import InvalidCommand
from msgspec import Struct, field

from phases.core import command_form
from phases.core.engine import connect
from phases.core.errors import HabitatError
from phases.ui import echo, output, signals
from phases.ui.commands import arguments, selection
from phases.ui.commands.printing import refused
from phases.ui.jsonl import option
from phases.ui.output import OutputLost
from phases.ui.tasks import builds, close_run, current_project, exit_code, unanswered

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


# Seconds that cleaning up may take. A container whose init ignores signals takes ten to stop.
_PATIENCE = 30


class Interrupted(KeyboardInterrupt):
    """The signal `number` asked to stop."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


class Ending(Struct):
    """The reason why a run ended early: a signal, while the tasks `at` ran, or a failure outside of a task."""

    signal: int = 0
    at: list[str] = field(default_factory=list)
    fault: HabitatError | None = None


class RunCommand(cmd_run.Run):
    """doit's `run`, with one line for each failure, and no build container left.

    Exit code: 0, or that of the command that `start`, `exec`, `shell` or `debug` ran; 1 if a task failed, or output
    could not be written; 2 if tasks that depend on a failed one did not run; 3 if there is no such task; 128 + n if
    signal n ended it.
    """

    name = "run"
    doc_purpose = "run tasks, as `doit TASK` does"
    doc_usage = "TASK …"
    example: tuple[str, ...] = ("run", "setup:api")

    def __init__(self, **doits: Any) -> None:
        super().__init__(**doits)
        self._ending = Ending()

    def parse_execute(self, in_args: list[str]) -> int:
        connect.prefetch_images()  # the engine answers while the configs are read
        in_args = arguments.options_first(in_args, self.cmdparser)
        try:
            return int(super().parse_execute(in_args))
        except CmdParseError as error:
            refusal = refused(error, self.cmdparser, self.name)
            if option.is_requested(in_args) and sys.stdout is not None:
                return self._recorded({"outfile": None}, partial(_refuse, refusal))
            raise refusal from error

    def execute(self, params: Any, args: list[str]) -> int:
        if sys.stdout is None:
            return output.lost("it is closed")
        if isinstance(params["outfile"], str) and params["reporter"] != option.NAME:  # doit opens it later
            params["outfile"] = os.path.abspath(params["outfile"])  # noqa: PTH100 (it stays text, as doit expects)
        run = partial(self._run, params, args)
        return self._recorded(params, run) if params["reporter"] == option.NAME else run()

    def _execute(self, **options: Any) -> int:
        self.sel_tasks: list[str] = self._tasks([] if self.sel_default_tasks else self.sel_tasks)
        selection.check_options(self.sel_tasks or (), self.task_list)
        if options["always"]:
            current_project().shares = False  # --always-execute means that every phase runs
        return int(super()._execute(**options))

    def _tasks(self, words: list[str]) -> list[str]:
        """Return the tasks that a person's words mean, each with its options behind it."""
        if not words:
            build = command_form.command("build")
            raise InvalidCommand(f"nothing to do is named: `{build}` builds every habitat, `{build} NAME` one")
        return arguments.as_tasks(
            words,
            selection.habitats(self.task_list),
            selection.removed_habitats(self.task_list),
            default=selection.default_habitat(),
        )

    # doit passes the options that are in the signature of `_execute`.
    _execute.__signature__ = inspect.signature(cmd_run.Run._execute)  # type: ignore[attr-defined]  # noqa: SLF001

    def _recorded(self, params: Any, run: Callable[[], int]) -> int:
        """Run, and write the events as JSON lines."""
        from phases.ui.jsonl.writer import error_record, open_writer

        try:
            with open_writer(params["outfile"]) as writer:
                params["outfile"] = writer  # doit passes it to its reporter
                code = run()
                if self._ending.fault:
                    writer.write(error_record(self._ending.fault))
                writer.end(code, self._ending.signal, self._ending.at)
        except OutputLost as lost:
            return output.lost(str(lost))
        return code

    def _run(self, params: Any, args: list[str]) -> int:
        try:
            with _signals():
                code = int(super().execute(params, args))
                close_run()
                # doit's 1 is any failure of a task. A verb may know more.
                code = code if code > 1 else exit_code() or code
        except Interrupted as stop:
            self._ending.signal = stop.number
            return self._stopped(stop.number, was_building=all(map(builds, self.sel_tasks or ())))
        except OutputLost as error:
            self._ending.fault = HabitatError(f"the transcript can't be written: {error or 'nobody reads it'}")
            _end_at_once_from_now()
            with suppress(HabitatError):  # one error is enough: that of the output
                close_run()
            return output.lost(str(error))
        except HabitatError as error:
            self._ending.fault = error
            output.tell(f"ERROR: {error}")
            return 1
        except InvalidCommand as error:
            if error.not_found is not None:
                selection.check([error.not_found], self.task_list)
            raise
        return code

    def _stopped(self, number: int, *, was_building: bool) -> int:
        """Clean up, and print which tasks ran."""
        try:
            self._ending.at = close_run()
            outcome = "finished phases are kept, the next run continues from there"
        except HabitatError as error:
            outcome = f"the next run removes what is left of the build ({error})"
        place = f" in {', '.join(self._ending.at)}" if self._ending.at else ""
        silence = unanswered()
        output.tell(f"\nstopped{place}: {silence or outcome}" if was_building or silence else "\nstopped")
        return 128 + number


def _refuse(error: InvalidCommand) -> int:
    raise error


@contextmanager
def _signals() -> Iterator[None]:
    """Raise Interrupted on SIGINT, SIGTERM and SIGHUP, so that containers are removed on the way out.

    A signal that the run was started to ignore stays ignored.

    A second signal ends the process at once: the person doesn't want to wait for that. So does the alarm, since
    the exception may leave the code that it interrupts in a bad state, such as a lock that is never released.
    """

    def stop(number: int, _frame: object) -> None:
        _end_at_once_from_now()
        current_project().connection.hurry()
        signal.signal(signal.SIGALRM, lambda _, frame: _end_at_once(number, frame))
        signal.alarm(_PATIENCE)
        raise Interrupted(number)

    before = {number: signal.signal(number, stop) for number in signals.ending_signals()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def _end_at_once_from_now() -> None:
    """Let the next signal end the process. Not SIGHUP: a terminal that closes sends it twice, once by its shell."""
    for number in signals.ending_signals():
        signal.signal(number, signal.SIG_IGN if number == signal.SIGHUP else _end_at_once)


def _end_at_once(number: int, _frame: object) -> None:
    echo.abandon_live_lines()
    output.tell("\nstopped at once: the next run removes what is left of the build")
    os._exit(128 + number)
