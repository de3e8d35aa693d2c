"""Cleans up after a session that was killed: ends its commands, and stops its container if no session is left."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

from phases.core.cache.stamps import state_dir
from phases.core.errors import EngineError
from phases.core.files.shell_program import ShellProgram
from phases.core.runtime.container import own_container
from phases.core.runtime.exit_guard import VARIABLE
from phases.core.runtime.leave import stop_if_unused

if TYPE_CHECKING:
    from phases.core.engine.protocol import Container
    from phases.core.project import Project

_SIGNAL = ShellProgram(__file__, "signal_session.sh")

# Seconds that commands have to end after SIGTERM, and how often those that remain are killed.
_GRACE, _KILL_TRIES = 1.0, 10

# Seconds that the engine may take to notice the end of a command.
_NOTICE_TIMEOUT = 2.0


def clean_up(project: Project, name: str, user: str, session_id: str, container_id: str) -> None:
    """Leave the habitat as the killed session would have.

    Args:
        project: The project.
        name: The name of the habitat.
        user: The user who ran the session's commands.
        session_id: The id of the session.
        container_id: The id of its container, "" if it was killed before it knew that.

    Raises:
        HabitatError: The engine can't be reached, or refuses.
    """
    if not state_dir(project.root, name).is_dir():
        return  # the project was removed
    container = _running_container(project, name, container_id)
    if not container:
        return
    _end_commands(project, container, user, session_id)
    presence = project.presence(name)
    with presence.alone():
        container = _running_container(project, name, container_id)
        if not container:
            return
        presence.join(container.id)
    with presence.leaving() as end:
        if not end.keep_running:
            stop_if_unused(project, name, container, own_execs=0, is_last=end.is_last)
    project.locks.settle()


def _running_container(project: Project, name: str, container_id: str) -> Container | None:
    container = project.engine.container(container_id) if container_id else own_container(project, name)
    return container if container and container.running else None


def _end_commands(project: Project, container: Container, user: str, session_id: str) -> None:
    """End the session's commands, as the user who ran them: root must not act on files that USER made."""
    with suppress(EngineError):  # the container, or its shell, may be gone
        if not _signal(project, container, user, session_id, "HUP", "TERM"):
            return
        time.sleep(_GRACE)
        for _ in range(_KILL_TRIES):
            if not _signal(project, container, user, session_id, "KILL"):
                break
        until = time.monotonic() + _NOTICE_TIMEOUT
        while project.engine.running_execs(container.id) and time.monotonic() < until:
            time.sleep(0.05)


def _signal(project: Project, container: Container, user: str, session_id: str, *signals: str) -> int:
    """Send signals to the session's processes. Returns how many there are."""
    argv = ("/bin/sh", "-c", _SIGNAL.text, "sh", f"{VARIABLE}={session_id}", *signals)
    return project.engine.exec(container.id, argv, user=user, workdir="/")
