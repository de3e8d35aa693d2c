"""Waiting until a habitat that came up is ready: its startup_delay first, then until entry.ready succeeds."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from phases.core import events
from phases.core.container import timed_exec
from phases.core.engine.protocol import LineSplitter
from phases.core.errors import StartError
from phases.core.masking import Mask
from phases.core.secrets.fingerprints import OutputCheck

if TYPE_CHECKING:
    from phases.core.model import EntryPoint, Ready
    from phases.core.runtime.presence import Presence
    from phases.core.runtime.session import Session

# Seconds between two looks whether the container still runs.
_GLANCE = 0.2

# Signs of the command that tell a person which it is.
_SHOWN = 60

# Lines of what a try printed that are told when there is no further one.
_LINES = 20

# Seconds that a try must have had, to be told of as one that hangs.
_FAIR = 1


def wait(visit: Session, presence: Presence, entry: EntryPoint, *, guest: bool) -> None:
    """Come back when it is ready; whoever enters one that was found ready doesn't wait. guest: one that
    runs already has had its startup_delay. Raises StartError, at once when its main process ends.
    """
    was_ready = bool(entry.ready) and not visit.was_started and presence.was_ready
    delay = 0 if was_ready or (guest and not visit.was_started) else entry.startup_delay
    if delay:
        visit.project.bus.emit(events.Notice(visit.habitat.name, f"giving its init {delay:g}s"))
    if delay or visit.habitat.entry.init_command:  # what idles doesn't end by itself
        _pause(visit, delay)
    if entry.ready and not was_ready:
        _until_ready(visit, entry.ready)
        presence.note_ready()


def _pause(visit: Session, seconds: float) -> None:
    """Raises StartError as soon as the container has ended."""
    until = time.monotonic() + seconds
    while True:
        if ended := visit.ended():
            raise ended
        left = until - time.monotonic()
        if left <= 0:
            return
        time.sleep(min(left, _GLANCE))


def _until_ready(visit: Session, ready: Ready) -> None:
    name, emit = visit.habitat.name, visit.project.bus.emit
    waiting = events.Waiting(name, _short(ready.command), ready.timeout)
    began = time.monotonic()
    until = began + ready.timeout
    emit(waiting)
    last = None
    try:
        while True:
            left = until - time.monotonic()
            tried = _try(visit, ready.command, until)
            if tried.code == 0:
                break
            if last is None or tried.code is not None or left >= _FAIR:
                last = tried
            _pause(visit, max(0, min(ready.interval, until - time.monotonic())))
            if time.monotonic() >= until:
                raise _not_ready(visit, ready, last)
            if tried.said:
                emit(replace(waiting, said=tried.said[-1]))
    finally:
        emit(events.Waited(name))
    emit(events.Notice(name, f"ready after {time.monotonic() - began:.1f}s"))


def _short(command: str) -> str:
    text = " ".join(command.split())
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


class _Tried(NamedTuple):
    """code: None when it had to be ended; said: the last lines that it printed, without secrets."""

    code: int | None
    said: list[str]


def _try(visit: Session, command: str, until: float) -> _Tried:
    """Run the command as entry.command is run."""
    lines: deque[str] = deque(maxlen=_LINES)
    secrets = [value.data for value in visit.secrets]
    split = {is_err: LineSplitter(lines.append, Mask(secrets)) for is_err in (False, True)}
    argv = ("/bin/sh", "-c", "--", command)

    def feed(data: bytes, is_err: bool) -> None:
        split[is_err].feed(data)

    process = visit.project.engine.exec_piped(
        visit.container.id, argv, user=visit.user, workdir=visit.workdir, env=visit.env
    )
    visit.own = 1  # if it is cut off here, it still runs in the container
    try:
        process.end_input()
        if timed_exec.wait_for_end(process, feed, until - time.monotonic()):
            code: int | None = process.exit_code()
            visit.own = 0
        else:
            code = None
            visit.own = 0 if timed_exec.kill_and_wait(process, feed) else 1
    except BaseException:
        process.send_signal("KILL")
        raise
    finally:
        process.close()
    for splitter in split.values():
        splitter.close()
    # It may have read what the main process has written down, with a secret of an earlier start.
    witness = OutputCheck(visit.project, visit.habitat.name, visit.container, visit.secrets)
    return _Tried(code, list(lines) if witness.mask() or not lines else [witness.why_not])


def _not_ready(visit: Session, ready: Ready, tried: _Tried) -> StartError:
    """The container is stopped as after any start that fails: what was half ready is not to go on unseen."""
    end = "had to be ended" if tried.code is None else f"ended with exit code {tried.code}"
    name = visit.habitat.name
    return StartError(
        f"{name} is not ready after {ready.timeout:g}s: the last try {end}",
        where=ready.origin,
        remedy=f"see doit logs:{name}, or raise entry.ready.timeout",
        output=tried.said,
    )
