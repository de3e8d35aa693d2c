"""Containers in which commands run: what their main process is, when one has ended, and how one is made anew."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from phases.core.container.leftovers import NOTE
from phases.core.engine.protocol import SYSTEM_PATH
from phases.core.errors import Conflict

if TYPE_CHECKING:
    from collections.abc import Callable

    from phases.core.engine.protocol import Engine

# Idles as the main process of a container, reaps what is orphaned to it, and ends when asked to.
# The shell does that as well as an init of the engine's, which not every installation has.
# It is root's: its programs are the distribution's, whatever the image's environment says.
_INIT = f"PATH={SYSTEM_PATH}; trap 'exit 0' TERM INT; while :; do sleep 86400 & wait $!; done"
IDLE = ("/bin/sh", "-c", _INIT)

#: The same, for what is to be known as it was at first.
WATCHED = ("/bin/sh", "-c", f"{NOTE}; {_INIT}")

# By exit code, how often to look whether the container has ended: all that runs in one is killed when it ends, of which
# the engine tells before; and what was about to begin can't be run.
_LOOKS = {137: 10, 126: 1}


def ended_under(engine: Engine, container: str, code: int) -> bool:
    """Return whether a command ended with `code` because its container did."""
    for looks in reversed(range(_LOOKS.get(code, 0))):
        found = engine.container(container)
        if found is None or not found.running:
            return True
        time.sleep(0.1 if looks else 0)
    return False


# How often the name of a container may be found taken. A run has one request on its way when it is
# killed; the engine answers with the conflict as long as it is at that.
_TRIES, _PAUSE = 50, 0.1


def made_anew(engine: Engine, name: str, create: Callable[[str], str]) -> str:
    """A container `name`, where one of that name is nobody's any more. create: makes it. Returns its id."""
    for _ in range(_TRIES):
        engine.remove(name)
        # A killed run's request may still be on its way, and arrive between the two.
        with contextlib.suppress(Conflict):
            return create(name)
        time.sleep(_PAUSE)
    return create(name)
