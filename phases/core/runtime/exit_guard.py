"""A guard beside a visit to a habitat: a shell that waits for the visit's end, and leaves for one that was killed.

SIGKILL lets nobody clean up. The visit holds one end of a pipe, and the guard the other: the kernel closes the pipe
with the visit's process, however that ends. An end without a word has the guard become `phases.ui.aftermath`, which
does what the visit would have done. The guard has a session of its own, so that no signal to the run's terminal or
group reaches it, and it holds nothing that the run was given by its caller.
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

#: In the environment of each command of a visit, and of what that starts: which visit it is of.
VARIABLE = "HABITAT_VISIT"

_GUARD = ShellProgram(__file__, "guard.sh")

_PROGRAM = "phases.ui.aftermath"

# Where that is found from.
_CHECKOUT = Path(__file__).resolve().parents[3]

# Seconds that the guard may take to end.
_ENDING = 1


class Guard:
    """Of a visit to the habitat `name` of the project at `root`, whose commands `user` runs. To be ended by `left`.

    Where no process can be started any more, the visit has no guard.
    """

    def __init__(self, root: Path, name: str, user: str) -> None:
        #: Of the visit, as the value of VARIABLE.
        self.visit = os.urandom(16).hex()
        self._process: subprocess.Popen[bytes] | None = None
        reading, self._writing = os.pipe()
        with os.fdopen(reading, "rb") as watched, suppress(OSError):
            self._process = subprocess.Popen(
                ("/bin/sh", "-c", _GUARD.text, "habitat-guard", *_argv(root, name, user, self.visit)),
                cwd=_CHECKOUT,
                stdin=watched,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )

    def entering(self, container: Container | None = None) -> None:
        """From now on the habitat's container may run for this visit; it is that one, once this is known."""
        self._say(f"in {container.id}" if container else "in")

    def left(self) -> None:
        """Nothing is to be done after the visit."""
        if self._writing < 0:
            return
        self._say("left")
        os.close(self._writing)
        self._writing = -1
        if self._process:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_ENDING)

    def _say(self, line: str) -> None:
        with suppress(OSError):  # somebody has ended it
            os.write(self._writing, f"{line}\n".encode())


def _argv(root: Path, name: str, user: str, visit: str) -> tuple[str, ...]:
    return (sys.executable, "-m", _PROGRAM, str(root.resolve()), name, user, visit)
