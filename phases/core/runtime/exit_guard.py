"""A guard process beside a session, which cleans up if the session is killed.

SIGKILL leaves a process no time to clean up. The session holds one end of a pipe and the guard, a shell, the other. The
kernel closes the pipe when the session's process ends, however it ends. If the session has not dismissed the guard by
then, the guard becomes `phases.ui.aftermath`, which does what the session would have done. The guard runs in a process
session of its own, so that no signal to the run's terminal or process group reaches it, and it inherits no file from
the run.
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from phases.core.files.shell_program import ShellProgram

if TYPE_CHECKING:
    from phases.core.engine.protocol import Container

#: The environment variable that holds the id of the session, in its commands and their children.
VARIABLE = "HABITAT_VISIT"

_GUARD = ShellProgram(__file__, "guard.sh")
_CLEAN_UP_MODULE = "phases.ui.aftermath"

# The folder from which Python finds that module.
_CHECKOUT = Path(__file__).resolve().parents[3]

# Seconds that the guard may take to end.
_END_TIMEOUT = 1


class Guard:
    """The guard of a session. If no process can be started, the session has no guard.

    Args:
        root: The root of the project.
        name: The name of the habitat.
        user: The user who runs the session's commands.
    """

    def __init__(self, root: Path, name: str, user: str) -> None:
        #: The value of VARIABLE.
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
