"""Ends the commands of a session whose terminal, pipe or process is gone, in a container that stays running."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

from phases.core.engine.exec import READ_PROCESS
from phases.core.errors import EngineError
from phases.core.files.shell_program import ShellProgram

if TYPE_CHECKING:
    from phases.core.engine.protocol import Engine

#: The environment variable that holds the id of the session, in its commands and their children.
VARIABLE = "HABITAT_VISIT"

_HANG_UP = ShellProgram(__file__, "hang_up.sh", READ_PROCESS)

# The signals, one after the other, and the seconds that commands have to end after each.
_STEPS = (("HUP CONT", "", 1.0), ("", "TERM CONT", 1.0), *[("", "KILL", 0.2)] * 5)

# Seconds between two checks.
_PAUSE = 0.1


def end_commands(engine: Engine, container: str, user: str, session_id: str) -> bool:
    """End the commands of a session as a closed terminal does, and by force if they don't end by that.

    A user who started a server with `nohup`, or in tmux, wants it to go on: these are left alone.

    Args:
        engine: The engine.
        container: The id of the container.
        user: Who ran the commands. The signals are sent as that user: root must not act on files that USER made.
        session_id: The id of the session.

    Returns:
        Whether there was a command to end.
    """
    sessions = groups = ""

    def send(to_all: str, to_end: str) -> int:
        nonlocal sessions, groups
        output: list[bytes] = []
        argv = ("/bin/sh", "-c", _HANG_UP.text, "sh", f"{VARIABLE}={session_id}", to_all, to_end, sessions, groups)
        count = engine.exec(
            container,
            argv,
            user=user,
            workdir="/",
            on_output=lambda data, is_err: output.append(b"" if is_err else data),
        )
        sessions, _, groups = b"".join(output).decode(errors="replace").strip("\n").partition("\n")
        return count

    is_any = False
    with suppress(EngineError):  # the container, or its shell, may be gone
        for to_all, to_end, seconds in _STEPS:
            until = time.monotonic() + seconds
            left = send(to_all, to_end)
            is_any = is_any or left > 0
            while left and time.monotonic() < until:
                time.sleep(_PAUSE)
                left = send("", "")
            if not left:
                break
    return is_any
