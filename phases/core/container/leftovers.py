"""Return whether a command has left a container as it found it, but for files.

The next phase goes on in the container only where nobody could tell it from a new one, and only then needs
a commit not stop what runs. An exec that looks would cost as much as the command; so the shell that waits
for the command looks, and says so by the last bytes of stderr.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# For a main process: what it notes of /dev before anything else is there.
NOTE = "(cd /dev && echo * shm/* shm/.[!.]* mqueue/* >.at-first)"

# $0: what to say; $@: a command. Its exit code, output and input are the command's own, and so is its environment: no
# variable is set before it runs, as it may be one of its own. What this shell itself would say of a command that was
# killed goes nowhere, and a signal to its whole group ends the command alone.
#
# Settled is a container that holds no more than what is committed of it: no process but its main one, what that
# waits for, and this; and nothing in what the kernel keeps in memory for it. What was just ended may have yet to be
# reaped, so it is looked at for some milliseconds, with something between that lets others run. Who may not see the
# processes of others, or into a folder, can't tell.
_WATCH = """
trap : HUP INT QUIT PIPE ALRM TERM USR1 USR2
exec 3>&2 2>/dev/null
("$@") 2>&3 3>&-
code=$?
[ "$code" = 0 ] || exit "$code"
tries=50
while set -- /proc/[0-9]*; [ $# -gt 3 ]; do
    tries=$((tries - 1))
    [ "$tries" -gt 0 ] || exit 0
    (:)
done
[ -e /proc/1 ] && cd /dev || exit 0
for folder in . shm mqueue; do
    [ ! -e "$folder" ] || [ -r "$folder" ] || exit 0
done
for kind in /proc/sysvipc/*; do
    { read -r _ && ! read -r _; } <"$kind" || exit 0
done
read -r before <.at-first && [ "$(echo * shm/* shm/.[!.]* mqueue/*)" = "$before" ] || exit 0
printf '\\000%s' "$0" >&3
exit 0
"""


class LeftoverProbe:
    """One command, watched. on_output: takes what it prints, and whether that is of stderr."""

    def __init__(self, on_output: Callable[[bytes, bool], None]) -> None:
        # So that nothing that is printed is taken for it.
        self._said = os.urandom(16).hex()
        self._trailer = b"\0" + self._said.encode()
        self._on_output = on_output
        self._held = b""

    def argv(self, command: Sequence[str]) -> tuple[str, ...]:
        return ("/bin/sh", "-c", _WATCH, self._said, *command)

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
