"""Checks whether a command left nothing in a container but changed files.

If so, the next phase can continue in the container, and the commit needs no pause. A separate exec for the check would
cost as much as the command. So the shell that waits for the command does it, and reports in the last bytes of stderr.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from phases.core.files.shell_program import ShellProgram

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

#: For the main process: records the contents of /dev before any command runs.
RECORD_DEV = "(cd /dev && echo * shm/* shm/.[!.]* mqueue/* >.at-first)"

_WATCH = ShellProgram(__file__, "side_effects.sh")


class SideEffectProbe:
    """Checks one command, and takes the report of the check out of the command's output.

    Args:
        on_output: Called with each piece of output, and whether it is from stderr.
    """

    def __init__(self, on_output: Callable[[bytes, bool], None]) -> None:
        # Random, so that no output is mistaken for it.
        self._token = os.urandom(16).hex()
        self._trailer = b"\0" + self._token.encode()
        self._on_output = on_output
        self._held = b""

    def argv(self, command: Sequence[str]) -> tuple[str, ...]:
        """Return the command that runs `command` and then checks the container."""
        return ("/bin/sh", "-c", _WATCH.text, self._token, *command)

    def feed(self, data: bytes, is_err: bool) -> None:
        """Pass output on, but hold back the end of stderr while it may be the beginning of the report."""
        if is_err:
            data = self._held + data
            start = data.rfind(b"\0")
            cut = start if start >= 0 and self._trailer.startswith(data[start:]) else len(data)
            data, self._held = data[:cut], data[cut:]
        if data:
            self._on_output(data, is_err)

    def end(self) -> bool:
        """Finish after the last output. Returns whether the command left nothing but changed files."""
        held, self._held = self._held, b""
        if held == self._trailer:
            return True
        if held:
            self._on_output(held, True)
        return False
