"""Waits until a started habitat is ready: for entry.startup_delay, then until entry.ready succeeds."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from phases.core import command_form, events
from phases.core.container import timed_exec
from phases.core.engine.output import LineSplitter
from phases.core.errors import StartError
from phases.core.masking import Mask
from phases.core.runtime.own_containers import container_name

if TYPE_CHECKING:
    from phases.core.entry_settings import Ready
    from phases.core.model import EntryPoint
    from phases.core.runtime.session.presence import Presence
    from phases.core.runtime.session.session import Session

# Seconds between two checks whether the container still runs.
_POLL = 0.2

# Seconds that an init command must have run before its container replaces another one.
_SETTLE = 1

# Characters of the command that are shown.
_COMMAND_LENGTH = 60

# Lines of the last check's output that an error shows.
_OUTPUT_LINES = 20

# Seconds that a check must have had before it is reported as hanging.
_MIN_SECONDS = 1


def wait(session: Session, presence: Presence, entry: EntryPoint, *, skip_delay_if_running: bool) -> None:
    """Wait until the habitat is ready. If an earlier session found it ready, don't wait.

    Args:
        session: The session.
        presence: The record of the sessions in the container.
        entry: The habitat's entry point.
        skip_delay_if_running: Whether to skip startup_delay in a container that was running before.

    Raises:
        StartError: It isn't ready in time, or its main process has ended.
    """
    was_ready = bool(entry.ready) and not session.was_started and presence.was_ready
    delay = 0 if was_ready or (skip_delay_if_running and not session.was_started) else entry.startup_delay
    if delay:
        session.project.bus.emit(events.Notice(session.habitat.name, f"waiting {delay:g}s (entry.startup_delay)"))
    if delay or session.habitat.entry.init_command:  # without an init command, it doesn't end by itself
        _sleep(session, delay)
    if entry.ready and not was_ready:
        _until_ready(session, entry.ready)
        presence.note_ready()


def check_start(session: Session) -> None:
    """Raise an error if the container, which is to replace another one, ends soon after its start."""
    session.check_shell()
    entry = session.habitat.entry
    if entry.init_command and not (entry.startup_delay or entry.ready):
        _sleep(session, _SETTLE)


def _sleep(session: Session, seconds: float) -> None:
    """Sleep, but raise StartError as soon as the container has ended."""
    until = time.monotonic() + seconds
    while True:
        if error := session.end_error():
            raise error
        left = until - time.monotonic()
        if left <= 0:
            return
        time.sleep(min(left, _POLL))


def _until_ready(session: Session, ready: Ready) -> None:
    name, emit = session.habitat.name, session.project.bus.emit
    waiting = events.Waiting(name, _shortened(ready.command), ready.timeout)
    started = time.monotonic()
    until = started + ready.timeout
    emit(waiting)
    reported = None
    try:
        while True:
            left = until - time.monotonic()
            result = _check(session, ready.command, until)
            if result.exit_code == 0:
                break
            if reported is None or result.exit_code is not None or left >= _MIN_SECONDS:
                reported = result
            _sleep(session, max(0, min(ready.interval, until - time.monotonic())))
            if time.monotonic() >= until:
                raise _not_ready(session, ready, reported)
            if result.output:
                emit(replace(waiting, said=result.output[-1]))
    finally:
        emit(events.Waited(name))
    emit(events.Notice(name, f"ready after {time.monotonic() - started:.1f}s"))


def _shortened(command: str) -> str:
    text = " ".join(command.split())
    return text if len(text) <= _COMMAND_LENGTH else f"{text[:_COMMAND_LENGTH]}…"


class _CheckResult(NamedTuple):
    """The result of one check.

    exit_code: None if the check was killed at the time limit. output: its last lines, without secrets.
    """

    exit_code: int | None
    output: list[str]


def _check(session: Session, command: str, until: float) -> _CheckResult:
    """Run the command of entry.ready like entry.command."""
    lines: deque[str] = deque(maxlen=_OUTPUT_LINES)
    secrets = [value.data for value in session.secrets]
    splitters = {is_err: LineSplitter(lines.append, Mask(secrets)) for is_err in (False, True)}
    argv = ("/bin/sh", "-c", "--", command)

    def feed(data: bytes, is_err: bool) -> None:
        splitters[is_err].feed(data)

    process = session.project.engine.exec_piped(
        session.container.id, argv, user=session.user, workdir=session.workdir, env=session.env
    )
    session.own_execs = 1  # if a signal interrupts this, the command still runs in the container
    try:
        process.end_input()
        if timed_exec.wait_for_end(process, feed, until - time.monotonic()):
            exit_code: int | None = process.exit_code()
            session.own_execs = 0
        else:
            exit_code = None
            session.own_execs = 0 if timed_exec.kill_and_wait(process, feed) else 1
    except BaseException:
        process.send_signal("KILL")
        raise
    finally:
        process.close()
    for splitter in splitters.values():
        splitter.close()
    # It may print what the main process has written, which may contain a secret of an earlier start.
    from phases.core.runtime.output_check import output_check  # imported late, for an error

    check = output_check(session.project, session.habitat.name, session.container, session.secrets)
    return _CheckResult(exit_code, list(lines) if check.mask() or not lines else [check.why_not])


def _not_ready(session: Session, ready: Ready, result: _CheckResult) -> StartError:
    """Return the error. The container is stopped then, as after any start that fails."""
    end = "was killed" if result.exit_code is None else f"ended with exit code {result.exit_code}"
    name = session.habitat.name
    # A new container that was to replace another one is removed, so `logs` would show those of the old one.
    is_kept = session.container.name == container_name(session.project.names.of(name))
    look = f"see `{command_form.verb('logs', name)}`"
    hint = look if is_kept else f"look into it with `{command_form.verb('shell', name, '--at', 'final')}`"
    return StartError(
        f"{name} is not ready after {ready.timeout:g}s: the last check {end}",
        where=ready.origin,
        remedy=f"{hint}, or raise entry.ready.timeout",
        output=result.output,
    )
