"""Runs the commands of a phase, and explains why one failed."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

from phases.core import events
from phases.core.build.commands.test_results import TestResults
from phases.core.build.container.exec import PhaseCommand
from phases.core.build.context import SHOWN_OUTPUT
from phases.core.build.failure import argv, typed
from phases.core.container.init_process import container_ended
from phases.core.container.remedies import remedy_for
from phases.core.container.users import NO_USER
from phases.core.errors import CommandFailed, Conflict, NotFound, PhaseTimeout, StepError
from phases.core.secrets import ssh_agent
from phases.core.secrets.delivery import variables

if TYPE_CHECKING:
    from phases.core.build.container.container import BuildContainer
    from phases.core.build.context import PhaseContext, PhaseOutput
    from phases.core.model import Value
    from phases.core.origin import Origin
    from phases.protocol import Run


class CommandRunner:
    """Runs the commands of one phase, which share its timeout.

    Attributes:
        folder: The folder in which the last command ran.
    """

    def __init__(self, work: PhaseContext, output: PhaseOutput) -> None:
        self._work = work
        self._output = output
        self._timeout = work.habitat.timeouts.get(work.phase.NAME)
        self.folder = work.habitat.workdir
        self.restart_clock()

    def restart_clock(self) -> None:
        """Let the timeout of the phase begin now."""
        self._deadline = time.monotonic() + self._timeout if self._timeout else None

    @property
    def left(self) -> float | None:
        """The seconds that the phase has left, None for any number."""
        return max(0.0, self._deadline - time.monotonic()) if self._deadline else None

    def run(self, step: Run, container: BuildContainer, workdir: str) -> None:
        """Run a command in the container of the phase.

        Args:
            step: The command.
            container: The container.
            workdir: The folder of a command that names none.

        Raises:
            HabitatError: The command failed, was stopped, or could not be run.
        """
        users = container.users
        if step.user not in users:
            raise StepError(f"there is no user '{step.user}' in the image", where=step.origin, remedy=NO_USER)
        self._output.write(f"$ {step.title} (as {step.user})")
        results = TestResults(step.tests)
        output = _CommandOutput(
            self._work, self._output, step.origin if step.notices else None, results if step.tests else None
        )
        env, secrets = self._env_and_secrets(step)
        left = self.left
        self.folder = users.expand(step.workdir or workdir, step.user, step.origin)
        script = argv(step.script, step.args)
        try:
            code = container.execute(
                PhaseCommand(script, step.user, self.folder, env, secrets, step.ends, left, output.feed)
            )
        except (PhaseTimeout, Conflict, NotFound) as error:
            raise self._interruption(error, step, output.last_lines) from error
        finally:
            output.close()
        if container_ended(self._work.engine, container.id, code):
            raise self._cut_off(step, output.last_lines)
        if code:
            raise self._failure(step, code, output.last_lines, results, container.kill_counter.report())
        if results.is_tap:
            self._check(step, results, output.last_lines)
        if files := container.engine_files.take_written():
            self._warn_of_lost(files, step)

    def _warn_of_lost(self, files: list[str], step: Run) -> None:
        """Warn of files that a command wrote and no image keeps."""
        volumes = ", ".join(f"SOURCE:{file}:ro" for file in files)
        text = (
            f"{step.origin}: {step.title} wrote to {' and '.join(files)}, which no image keeps: the engine mounts its "
            f"own files there. Mount yours instead (`volumes: [{volumes}]`), or let entry.init_command write at each "
            "start"
        )
        self._work.emit(events.Notice(self._work.habitat.name, text, warning=True))

    def _check(self, step: Run, results: TestResults, rows: list[str]) -> None:
        """Show the counts of a test that printed TAP. Raises StepError if a result is not ok."""
        if results.lacks_parser:
            text = f"{step.title} printed TAP, and the package tap.py is not installed: only its exit code counts: "
            self._work.emit(events.Notice(self._work.habitat.name, f"{text}run script/bootstrap", warning=True))
            return
        if results.flaw:
            raise StepError(
                f"{step.title} failed: {results.flaw}",
                where=step.origin,
                remedy=f"fix it, then run the same command; log: {self._work.shown_log}",
                output=[*typed(step.script, step.args), *rows],
            )
        self._work.emit(events.Notice(self._work.habitat.name, results.counts))

    def _env_and_secrets(self, step: Run) -> tuple[dict[str, str], tuple[Value, ...]]:
        secrets = self._work.secrets
        env = step.env | variables(secrets)
        if step.known_hosts:
            env |= ssh_agent.ENV
            secrets = (*secrets, ssh_agent.known_hosts(step.known_hosts, step.origin))
        return env, secrets

    # Errors

    def _interruption(self, error: PhaseTimeout | Conflict | NotFound, step: Run, rows: list[str]) -> StepError:
        """Return the error of a command that has not ended by itself."""
        log = self._work.shown_log
        if isinstance(error, PhaseTimeout):
            phase = self._work.phase.NAME
            return PhaseTimeout(
                f"{step.title} was stopped: {phase} took longer than {self._timeout:g}s",
                where=step.origin,
                remedy=f"raise timeouts.{phase}, or see the log: {log}",
                output=[*typed(step.script, step.args), *rows],
            )
        if isinstance(error, Conflict):
            return StepError(
                f"the build container ended before {step.title} could run",
                where=step.origin,
                remedy=f"an earlier command of this phase may have killed its process 1; log: {log}",
            )
        return self._cut_off(step, rows)

    def _cut_off(self, step: Run, rows: list[str]) -> StepError:
        return StepError(
            f"the build container was stopped or removed while {step.title} ran",
            where=step.origin,
            remedy=f"run the same command again, unless the command itself did that; log: {self._work.shown_log}",
            output=[*typed(step.script, step.args), *rows],
        )

    def _failure(self, step: Run, code: int, rows: list[str], results: TestResults, killed: str) -> CommandFailed:
        """Return the error of a command that failed: for a known exit code, with the line that says why.

        killed: That a process was killed at the memory limit, "" if none was.
        """
        known = step.remedies.get(code)
        reason = killed or (_verdict(rows) if known else results.flaw)
        printed = "\n".join(rows)
        # What was printed says more than the code: 128 is git's for everything.
        remedy = remedy_for(printed, self._work.habitat, self._work.engine.platform) or known
        remedy = "raise the limit" if killed else remedy or "fix it, then run the same command"
        return CommandFailed(
            f"{step.title} ended with exit code {code}" + (f" ({reason})" if reason else ""),
            where=step.origin,
            remedy=f"{remedy}; log: {self._work.shown_log}",
            output=[*typed(step.script, step.args), *rows],
            exit_code=code,
        )


class _CommandOutput:
    """The output of a command: for the log and the person, with its last lines for an error.

    Args:
        work: The phase.
        output: Takes the lines.
        notices_about: The place that each line of stdout is a notice about, None if they aren't.
        results: Takes the lines of stdout, if the command is a test.
    """

    def __init__(
        self, work: PhaseContext, output: PhaseOutput, notices_about: Origin | None, results: TestResults | None
    ) -> None:
        self._results = results
        self._work = work
        self._notices_about = notices_about
        self._show = partial(output.lines, show=work.habitat.debug)
        self.last_lines: list[str] = []
        self._streams = {
            False: work.masked(partial(self._take, stream="stdout")),
            True: work.masked(partial(self._take, stream="stderr")),
        }

    def feed(self, data: bytes, is_err: bool) -> None:
        self._streams[is_err].feed(data)

    def close(self) -> None:
        for stream in self._streams.values():
            stream.close()

    def _take(self, lines: list[str], stream: events.Stream) -> None:
        self.last_lines.extend(lines[-SHOWN_OUTPUT:])
        del self.last_lines[:-SHOWN_OUTPUT]
        self._show(lines, stream=stream)
        if self._results and stream == "stdout":
            self._results.feed(lines)
        if self._notices_about and stream == "stdout":
            for line in lines:
                text = f"{self._notices_about}: {line}"
                self._work.emit(events.Notice(self._work.habitat.name, text, warning=True))


def _verdict(rows: list[str]) -> str:
    """Return the line of a command's output that says why it failed: git's first `fatal:`, else the last line."""
    lines = [row.strip() for row in rows if row.strip()] or [""]
    first = next((number for number, line in enumerate(lines) if line.startswith("fatal:")), -1)
    return " ".join(lines[first : first + 2]) if lines[first].endswith(":") else lines[first]
