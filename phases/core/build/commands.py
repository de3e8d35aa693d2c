"""Runs the commands of a phase, and says what is wrong where one fails."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

from phases.core.build.context import SHOWN_OUTPUT
from phases.core.build.failure import argv, typed
from phases.core.container.users import NO_USER, UserDatabase
from phases.core.errors import CommandFailed, Conflict, NotFound, PhaseTimeout, StepError, full_disk_remedy
from phases.core.secrets import ssh_agent
from phases.core.secrets.store import variables

if TYPE_CHECKING:
    from phases.core import events
    from phases.core.build.container import BuildContainer
    from phases.core.build.context import PhaseContext, PhaseOutput
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

    def run(self, step: Run, container: BuildContainer, workdir: str) -> None:
        """Run a command in the container of the phase.

        Args:
            step: The command.
            container: The container.
            workdir: The folder of a command that names none.

        Raises:
            HabitatError: The command failed, was stopped, or could not be run.
        """
        work, accounts = self._work, UserDatabase(container.read)
        if step.user not in accounts:
            raise StepError(f"there is no user '{step.user}' in the image", where=step.origin, remedy=NO_USER)
        rows: list[str] = []

        def on_lines(lines: list[str], stream: events.Stream) -> None:
            rows.extend(lines[-SHOWN_OUTPUT:])
            del rows[:-SHOWN_OUTPUT]
            self._output.lines(lines, show=work.habitat.debug, stream=stream)

        self._output.write(f"$ {step.title} (as {step.user})")
        out, err = work.masked(partial(on_lines, stream="stdout")), work.masked(partial(on_lines, stream="stderr"))
        env, secret = step.env | variables(work.secrets), work.secrets
        if step.known_hosts:
            env |= ssh_agent.ENV
            secret = (*secret, ssh_agent.known_hosts(step.known_hosts, step.origin))
        left = max(0.0, self._deadline - time.monotonic()) if self._deadline else None
        self.folder = accounts.expand(step.workdir or workdir, step.user, step.origin)
        try:
            code = container.execute(
                argv(step.script, step.args),
                user=step.user,
                workdir=self.folder,
                env=env,
                secret=secret,
                ends=step.ends,
                on_output=lambda data, is_err: (err if is_err else out).feed(data),
                timeout=left,
            )
        except PhaseTimeout as error:
            raise PhaseTimeout(
                f"{step.title} was stopped: {work.phase.NAME} took longer than {self._timeout:g}s",
                where=step.origin,
                remedy=f"raise timeouts.{work.phase.NAME}, or see the log: {self._work.shown_log}",
                output=[*typed(step.script, step.args), *rows],
            ) from error
        except Conflict as error:
            raise StepError(
                f"the build container had ended before {step.title}",
                where=step.origin,
                remedy=f"see what an earlier command does to its main process; log: {work.shown_log}",
            ) from error
        except NotFound as error:
            raise self._cut_off(step, rows) from error
        finally:
            out.close()
            err.close()
        if container.ended_under(code):
            raise self._cut_off(step, rows)
        if code:
            raise self._failure(step, code, rows)

    def _cut_off(self, step: Run, rows: list[str]) -> StepError:
        return StepError(
            f"the build container was stopped or removed while {step.title} ran",
            where=step.origin,
            remedy=f"run the same again, unless the command itself did that; log: {self._work.shown_log}",
            output=[*typed(step.script, step.args), *rows],
        )

    def _failure(self, step: Run, code: int, rows: list[str]) -> CommandFailed:
        """Return the error of a command that failed: for a known exit code, with the line that says why."""
        known = step.remedies.get(code)
        said = _verdict(rows) if known else ""
        printed = "\n".join(rows)
        remedy = known or full_disk_remedy(printed) or _privileges_remedy(printed)
        remedy = remedy or "fix it, then run the same command"
        return CommandFailed(
            f"{step.title} ended with exit code {code}" + (f" ({said})" if said else ""),
            where=step.origin,
            remedy=f"{remedy}; log: {self._work.shown_log}",
            output=[*typed(step.script, step.args), *rows],
            exit_code=code,
        )


def _privileges_remedy(printed: str) -> str:
    """Return the remedy for a command that sudo refused, "" for any other."""
    if "no new privileges" not in printed:
        return ""
    return "run it as root in setup, or write `build: {new_privileges: true}`"


def _verdict(rows: list[str]) -> str:
    """Return the line of a command's output that says why it failed: git's first `fatal:`, else the last line."""
    said = [row.strip() for row in rows if row.strip()] or [""]
    first = next((number for number, row in enumerate(said) if row.startswith("fatal:")), -1)
    return " ".join(said[first : first + 2]) if said[first].endswith(":") else said[first]
