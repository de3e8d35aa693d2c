"""What is done for a visit that was killed: its commands end, and it leaves the habitat's container."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

from phases.core.cache.stamps import state_dir
from phases.core.errors import EngineError
from phases.core.files.shell_program import ShellProgram
from phases.core.runtime import session
from phases.core.runtime.container import own_container
from phases.core.runtime.exit_guard import VARIABLE

if TYPE_CHECKING:
    from phases.core.engine.protocol import Container
    from phases.core.project import Project

_SIGNAL = ShellProgram(__file__, "signal_session.sh")

# Seconds that what is told to end has for that, and the rounds in which what is left is killed.
_GRACE, _ROUNDS = 1.0, 10

# Seconds in which the engine has to notice that a command has ended.
_NOTICE = 2.0


def leave(project: Project, name: str, user: str, visit: str, container: str) -> None:
    """Leave the habitat as the killed visit would have. user: who ran its commands; container: the id of the one that
    it was in, "" where it was killed before it knew. Raises HabitatError.
    """
    if not state_dir(project.root, name).is_dir():
        return  # the project is gone
    found = _container(project, name, container)
    if not found:
        return
    _end_commands(project, found, user, visit)
    presence = project.presence(name)
    with presence.alone():
        found = _container(project, name, container)
        if not found:
            return
        presence.join(found.id)
    with presence.leaving() as left:
        if not left.keep_running:
            session.leave(project, name, found, own=0, last=left.is_last)
    project.locks.settle()


def _container(project: Project, name: str, container: str) -> Container | None:
    found = project.engine.container(container) if container else own_container(project, name)
    return found if found and found.running else None


def _end_commands(project: Project, container: Container, user: str, visit: str) -> None:
    """End what goes on although nobody listens to it. As the user whose it is: root is not to act on what USER made."""
    with suppress(EngineError):  # the container, or its shell, may be gone
        if not _signal(project, container, user, visit, "HUP", "TERM"):
            return
        time.sleep(_GRACE)
        for _ in range(_ROUNDS):
            if not _signal(project, container, user, visit, "KILL"):
                break
        until = time.monotonic() + _NOTICE
        while project.engine.running_execs(container.id) and time.monotonic() < until:
            time.sleep(0.05)


def _signal(project: Project, container: Container, user: str, visit: str, *signals: str) -> int:
    argv = ("/bin/sh", "-c", _SIGNAL.text, "sh", f"{VARIABLE}={visit}", *signals)
    return project.engine.exec(container.id, argv, user=user, workdir="/")
