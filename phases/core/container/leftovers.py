"""Whether a command has left a container as it found it, but for files.

The next phase goes on in the container only where nobody could tell it from a new one, and only then needs
a commit not stop what runs. An exec that looks would cost as much as the command; so the shell that waits
for the command looks, and says so by the last bytes of stderr.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from phases.core.files.shell_program import ShellProgram

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# For a main process: what it notes of /dev before anything else is there.
NOTE = "(cd /dev && echo * shm/* shm/.[!.]* mqueue/* >.at-first)"

_WATCH = ShellProgram(__file__, "leftovers.sh")


class LeftoverProbe:
    """One command, watched. on_output: takes what it prints, and whether that is of stderr."""

    def __init__(self, on_output: Callable[[bytes, bool], None]) -> None:
        # So that nothing that is printed is taken for it.
        self._said = os.urandom(16).hex()
        self._trailer = b"\0" + self._said.encode()
        self._on_output = on_output
        self._held = b""

    def argv(self, command: Sequence[str]) -> tuple[str, ...]:
        return ("/bin/sh", "-c", _WATCH.text, self._said, *command)

    def feed(self, data: bytes, is_err: bool) -> None:
        """What comes of it. Of stderr that is held back which may be the beginning of what is said at its end."""
        if is_err:
            data = self._held + data
            start = data.rfind(b"\0")
            cut = start if start >= 0 and self._trailer.startswith(data[start:]) else len(data)
            data, self._held = data[:cut], data[cut:]
        if data:
            self._on_output(data, is_err)

    def end(self) -> bool:
        """Nothing more comes. Returns whether the container is settled."""
        held, self._held = self._held, b""
        if held == self._trailer:
            return True
        if held:
            self._on_output(held, True)
        return False
