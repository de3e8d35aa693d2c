"""The idle main process of a container in which the program runs commands, and how its end is detected."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from phases.core.container.side_effects import RECORD_DEV
from phases.core.engine.types import SYSTEM_PATH
from phases.core.errors import Conflict

if TYPE_CHECKING:
    from collections.abc import Callable

    from phases.core.engine.protocol import Engine

# Idles, reaps orphaned processes, and ends on SIGTERM. A shell does this as well as the engine's own init, which not
# every installation has. It runs as root, so its programs are the distribution's, whatever the image's environment is.
_INIT = f"PATH={SYSTEM_PATH}; trap 'exit 0' TERM INT; while :; do sleep 86400 & wait $!; done"
IDLE = ("/bin/sh", "-c", _INIT)

#: The same for a container of a `SideEffectProbe`.
IDLE_FOR_PROBE = ("/bin/sh", "-c", f"{RECORD_DEV}; {_INIT}")

# How often to check, by exit code, whether the container has ended. When it ends, the engine kills its commands (137),
# and reports that before the end of the container. A command that was about to start can't be run (126; or 255, if the
# kernel refuses the shell of the image).
_CHECKS = {137: 10, 126: 1, 255: 1}


def container_ended(engine: Engine, container: str, exit_code: int) -> bool:
    """Return whether a command ended with `exit_code` because its container ended."""
    for remaining in reversed(range(_CHECKS.get(exit_code, 0))):
        found = engine.container(container)
        if found is None or not found.running:
            return True
        time.sleep(0.1 if remaining else 0)
    return False


# How often to retry while the name is taken. A run that was killed has at most one request under way, and the engine
# reports a conflict until it has completed it.
_TRIES, _PAUSE = 50, 0.1


def replace_container(engine: Engine, name: str, create: Callable[[str], str]) -> str:
    """Create a container under a name that only a container of a killed run can have.

    Args:
        engine: The engine.
        name: The name. A container that has it is removed.
        create: Creates the container and returns its id.

    Returns:
        The id of the new container.
    """
    for _ in range(_TRIES):
        engine.remove(name)
        # The request of a killed run may arrive between the two.
        with contextlib.suppress(Conflict):
            return create(name)
        time.sleep(_PAUSE)
    return create(name)
