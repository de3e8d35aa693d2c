"""A guard process beside a session, which cleans up if the session is killed.

SIGKILL leaves a process no time to clean up. The session holds one end of a pipe and the guard, a shell, the other. The
kernel closes the pipe when the session's process ends, however it ends. If the session has not dismissed the guard by
then, the guard becomes `phases.ui.session_cleanup`, which does what the session would have done (`clean_up`). The guard
runs in a process session of its own, so that no signal to the run's terminal or process group reaches it, and it
inherits no file from the run.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from phases.core.cache.stamps import state_dir
from phases.core.errors import EngineError
from phases.core.files.shell_program import ShellProgram
from phases.core.runtime import own_containers
from phases.core.runtime.replacement import give_up
from phases.core.runtime.session.hang_up import end_commands
from phases.core.runtime.session.presence import Presence
from phases.core.runtime.stop import stop_if_unused

if TYPE_CHECKING:
    from phases.core.engine.types import Container
    from phases.core.project import Project

_GUARD = ShellProgram(__file__, "guard.sh")
_CLEAN_UP_MODULE = "phases.ui.session_cleanup"

# The folder from which Python finds that module.
_CHECKOUT = Path(__file__).resolve().parents[4]

# Seconds that the guard may take to end.
_END_TIMEOUT = 1

# Seconds that the engine may take to notice the end of a command.
_NOTICE_TIMEOUT = 2.0


class Guard:
    """The guard of a session. If no process can be started, the session has no guard.

    Args:
        root: The root of the project.
        name: The name of the habitat.
        user: The user who runs the session's commands.
    """

    def __init__(self, root: Path, name: str, user: str) -> None:
        #: The id of the session.
        self.session_id = os.urandom(16).hex()
        self._process: subprocess.Popen[bytes] | None = None
        reading, self._writing = os.pipe()
        with os.fdopen(reading, "rb") as watched, suppress(OSError):
            self._process = subprocess.Popen(
                ("/bin/sh", "-c", _GUARD.text, "habitat-guard", *_clean_up_argv(root, name, user, self.session_id)),
                cwd=_CHECKOUT,
                stdin=watched,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )

    def watch(self, container: Container | None = None) -> None:
        """Clean up from now on if the session is killed. container: the session's, None while it is unknown."""
        self._send(f"in {container.id}" if container else "in")

    def dismiss(self) -> None:
        """End the guard. There is nothing left to clean up."""
        if self._writing < 0:
            return
        self._send("left")
        os.close(self._writing)
        self._writing = -1
        if self._process:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_END_TIMEOUT)

    def _send(self, line: str) -> None:
        with suppress(OSError):  # the guard was killed
            os.write(self._writing, f"{line}\n".encode())


def _clean_up_argv(root: Path, name: str, user: str, session_id: str) -> tuple[str, ...]:
    return (sys.executable, "-m", _CLEAN_UP_MODULE, str(root.resolve()), name, user, session_id)


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
    presence = Presence(project.state_folder(name))
    for container in _running_containers(project, name, container_id):
        is_own = _end_commands(project, container, user, session_id) or bool(container_id)
        if is_own or presence.is_entered(container.id):  # others were started by hand, or for a server
            _leave(project, name, container)
    with presence.alone():
        give_up(project, name, container_id)
    project.locks.wait_for_releases()


def _leave(project: Project, name: str, container: Container) -> None:
    presence = Presence(project.state_folder(name))
    with presence.alone():
        current = project.engine.container(container.id)
        if not current or not current.running:
            return
        presence.join(container.id)
    with presence.leaving() as end:
        if not end.keep_running:
            stop_if_unused(project, name, container, own_execs=0, is_last=end.is_last)


def _running_containers(project: Project, name: str, container_id: str) -> list[Container]:
    """Return the container of the session if it runs. If that is unknown, it may be any of the habitat's."""
    if container_id:
        containers = [project.engine.container(container_id)]
    else:
        containers = list(own_containers.containers(project, name))
    return [container for container in containers if container and container.running]


def _end_commands(project: Project, container: Container, user: str, session_id: str) -> bool:
    """End the session's commands in a container. Return whether there were any."""
    if not end_commands(project.engine, container.id, user, session_id):
        return False
    with suppress(EngineError):
        until = time.monotonic() + _NOTICE_TIMEOUT
        while project.engine.running_execs(container.id) and time.monotonic() < until:
            time.sleep(0.05)
    return True
