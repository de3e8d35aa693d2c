"""Starts the habitat's init command for tests, and waits until the habitat is ready, as a start of it does."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from phases.core import events
from phases.core.build.container.exec import PhaseCommand
from phases.core.build.context import SHOWN_OUTPUT
from phases.core.container import memory_limit
from phases.core.container.remedies import architecture_remedy
from phases.core.errors import Conflict, EngineError, EngineUnreachable, NotFound, PhaseTimeout, StepError
from phases.core.masking import Mask
from phases.core.secrets.delivery import variables

if TYPE_CHECKING:
    from phases.core.build.commands.runner import CommandRunner
    from phases.core.build.container.container import BuildContainer
    from phases.core.build.context import PhaseContext, PhaseOutput
    from phases.core.entry_settings import Ready
    from phases.core.origin import Origin

# Seconds between two checks whether the init command still runs.
_POLL = 0.2


class InitCommand:
    """The init command of one container.

    Args:
        work: The phase.
        output: Takes what the checks of `entry.ready` print.
        commands: Knows how much time the phase has left.
        container: The container, in which the init command is the main process.
        origin: The first test that needs it.
    """

    def __init__(
        self,
        work: PhaseContext,
        output: PhaseOutput,
        commands: CommandRunner,
        container: BuildContainer,
        origin: Origin,
    ) -> None:
        self._work = work
        self._output = output
        self._commands = commands
        self._container = container
        self._origin = origin
        self._entry = work.habitat.entry
        self._last_lines: list[str] = []

    def start(self) -> None:
        """Start it, and wait until the habitat is ready. Raises StepError if it ends, or isn't ready in time."""
        self._output.write(f"$ {self._entry.init_command} (entry.init_command, as root)")
        try:
            self._container.start()
        except EngineUnreachable:
            raise
        except EngineError as error:
            raise StepError(
                f"the init command can't be started ({error.message})",
                where=self._origin,
                remedy=f"check that the image has {self._entry.init_command.split()[0]}",
            ) from error
        if delay := self._entry.startup_delay:
            self._notice(f"waiting {delay:g}s (entry.startup_delay)")
        self._sleep(delay)
        if self._entry.ready:
            self._until_ready(self._entry.ready)

    def _notice(self, text: str) -> None:
        self._work.emit(events.Notice(self._work.habitat.name, text))

    def _sleep(self, seconds: float) -> None:
        """Sleep, but raise StepError as soon as the init command has ended or the phase's time is over."""
        until = time.monotonic() + seconds
        while True:
            if error := self.end_error():
                raise error
            left = until - time.monotonic()
            if left <= 0:
                return
            if self._commands.left == 0:
                raise self._phase_timeout()
            time.sleep(min(left, _POLL))

    def _until_ready(self, ready: Ready) -> None:
        started = time.monotonic()
        until = started + ready.timeout
        self._output.write(f"$ {ready.command} (entry.ready, as {self._work.habitat.user})")
        while True:
            code = self._check(ready, until)
            if code == 0:
                break
            if code is not None:  # else the engine has killed the container, too
                self._sleep(max(0.0, min(ready.interval, until - time.monotonic())))
            if code is None or time.monotonic() >= until:
                raise self._not_ready(ready, code)
        self._notice(f"ready after {time.monotonic() - started:.1f}s")

    def _check(self, ready: Ready, until: float) -> int | None:
        """Run the command of `entry.ready`. Returns its exit code, None if it took longer than it may."""
        work = self._work
        left, left_of_phase = max(0.0, until - time.monotonic()), self._commands.left
        self._last_lines = []
        streams = {is_err: work.masked(self._take) for is_err in (False, True)}
        command = PhaseCommand(
            ("/bin/sh", "-c", "--", ready.command),
            work.habitat.user,
            self._work.habitat.workdir,
            variables(work.secrets),
            work.secrets,
            False,
            left if left_of_phase is None else min(left, left_of_phase),
            lambda data, is_err: streams[is_err].feed(data),
        )
        try:
            return self._container.execute(command)
        except PhaseTimeout:
            if self._commands.left == 0:
                raise self._phase_timeout() from None
            return None
        except (Conflict, NotFound) as error:
            raise self.end_error() or error from error
        finally:
            for stream in streams.values():
                stream.close()

    def _take(self, lines: list[str]) -> None:
        self._last_lines += lines
        del self._last_lines[:-SHOWN_OUTPUT]
        self._output.lines(lines, show=self._work.habitat.debug)

    # Errors

    def _phase_timeout(self) -> StepError:
        phase = self._work.phase.NAME
        return PhaseTimeout(
            f"the habitat was not ready when {phase} had taken longer than {self._work.habitat.timeouts[phase]:g}s",
            where=self._origin,
            remedy=f"raise timeouts.{phase}, or see the log: {self._work.shown_log}",
            output=self._last_lines,
        )

    def _not_ready(self, ready: Ready, code: int | None) -> StepError:
        end = "was killed" if code is None else f"ended with exit code {code}"
        return StepError(
            f"the habitat is not ready for its tests after {ready.timeout:g}s: the last check {end}",
            where=ready.origin,
            remedy=f"raise entry.ready.timeout, or see the log: {self._work.shown_log}",
            output=self._last_lines,
        )

    def end_error(self) -> StepError | None:
        """Return the error if the init command has ended, None while it runs."""
        engine, init = self._work.engine, self._entry.init_command
        current = engine.container(self._container.id)
        if current and current.running:
            return None
        try:
            log = "\n".join(engine.logs(self._container.id, SHOWN_OUTPUT))
        except (NotFound, Conflict):
            return StepError("its container was removed", where=self._origin, remedy="run the same command again")
        key, limit = self._container.memory_limit
        killed = f" ({memory_limit.message(key, limit)})" if limit and current and current.out_of_memory else ""
        remedy = architecture_remedy(log, engine.platform) or "write an entry.init_command that keeps running"
        return StepError(
            f"the init command ended: {init}{killed}",
            where=self._origin,
            remedy="raise the limit" if killed else remedy,
            output=Mask(value.data for value in self._work.secrets).text(log).splitlines(),
        )
