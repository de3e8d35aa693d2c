"""Runs commands with a time limit: USER can stop or hang whatever runs as USER."""

from __future__ import annotations

import select
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from phases.core.engine.protocol import Engine, Piped

# Seconds that a command may take to end once it was killed.
_SETTLING = 5


def wait_for_end(process: Piped, on_output: Callable[[bytes, bool], None], seconds: float) -> bool:
    """Read the output of a command until it ends. Returns whether it ended within `seconds`."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        ready, _, _ = select.select([process.fileno()], [], [], left)
        if ready:
            chunks = process.read()
            if chunks is None:
                return True
            for data, is_err in chunks:
                on_output(data, is_err)
    return False


def kill_and_wait(process: Piped, on_output: Callable[[bytes, bool], None]) -> bool:
    """Kill a command. Returns whether it ended."""
    process.send_signal("KILL")
    return wait_for_end(process, on_output, _SETTLING)


def run(
    engine: Engine, container: str, argv: Sequence[str], *, user: str, env: Mapping[str, str], seconds: float
) -> tuple[int | None, str]:
    """Run a command without input. Returns its exit code, None if it was killed at the limit, and its output."""
    printed: list[bytes] = []
    process = engine.exec_piped(container, argv, user=user, workdir="/", env=env)
    try:
        process.end_input()
        if wait_for_end(process, lambda data, _: printed.append(data), seconds):
            return process.exit_code(), b"".join(printed).decode(errors="replace").strip()
        kill_and_wait(process, lambda *_: None)
        return None, ""
    finally:
        process.close()
