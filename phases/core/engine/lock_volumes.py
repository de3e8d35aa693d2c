"""The volumes that locks on an engine consist of.

Each contender for a lock has volumes of its own. Their labels say which lock it wants or holds, how, which process it
is, and on which machine.
"""

from __future__ import annotations

import hashlib
import os
import time
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from msgspec import Struct

from phases.core.files import processes
from phases.core.files.processes import Process

if TYPE_CHECKING:
    from collections.abc import Iterable

    from phases.core.engine.types import Volume

#: The label of a lock's volumes that names the lock.
LABEL_LOCK = "habitat.lock"
_OWNER, _MODE, _WHO = "habitat.lock.owner", "habitat.lock.mode", "habitat.lock.who"
_MACHINE, _PROCESS = "habitat.lock.machine", "habitat.lock.process"
_EXCLUSIVE, _SHARED = "alone", "shared"

# How the names begin. A volume with another name is no contender's and is never removed, whatever its labels say.
_PREFIX = "habitat-lock-"

#: Seconds without a heartbeat after which a contender on another machine counts as dead.
HEARTBEAT_TIMEOUT = 45.0

# Seconds between two looks that count in full. A run that looks less often was suspended, and so may the contender be.
_LONGEST_GAP = 2.0

# How long, by the engine's clock, a contender for a lock that nobody else wants has no heartbeat before it is removed.
_OLD = timedelta(hours=1)


class Contender(Struct, frozen=True):
    """A run that holds a lock or tries to.

    Attributes:
        key: The lock.
        owner: A random name of this attempt.
        exclusive: Whether it wants the lock for itself alone.
        who: The process, for a person.
        process: The process, None if the labels don't name one.
        names: Its volumes. A heartbeat changes them.
        made: When the engine made the last of them.
    """

    key: str
    owner: str
    exclusive: bool
    who: str
    process: Process | None
    names: frozenset[str]
    made: str

    @property
    def is_near(self) -> bool:
        """Return whether its process would be visible from here."""
        return bool(self.process and self.process.is_near)

    @property
    def has_ended(self) -> bool:
        """Return whether its process is known to have ended."""
        return bool(self.process and self.process.is_near and not self.process.runs)

    def is_old(self, now: str) -> bool:
        """Return whether it has had no heartbeat for long. now: the engine's time, "" where that isn't known."""
        try:
            return datetime.fromisoformat(now) - datetime.fromisoformat(self.made) > _OLD
        except (ValueError, TypeError):
            return False


#: A contender of which nothing is known.
UNKNOWN = Contender("", "", exclusive=True, who="another run", process=None, names=frozenset(), made="")


def volume_name(key: str, owner: str, beat: int) -> str:
    """Return the name of a contender's volume. beat: the number of the heartbeat that makes it."""
    return f"{_PREFIX}{hashlib.sha256(key.encode()).hexdigest()[:12]}-{owner}-{beat}"


def labels(key: str, owner: str, *, exclusive: bool) -> dict[str, str]:
    """Return the labels of a volume of this process."""
    process = processes.current()
    return {
        LABEL_LOCK: key,
        _OWNER: owner,
        _MODE: _EXCLUSIVE if exclusive else _SHARED,
        _WHO: f"pid {process.pid} on {os.uname().nodename} since {time.strftime('%H:%M:%S')}",
        _MACHINE: process.machine,
        _PROCESS: f"{process.pid} {process.began}".rstrip(),
    }


def contenders(volumes: Iterable[Volume]) -> list[Contender]:
    """Return the contenders that the volumes belong to."""
    by_owner: dict[tuple[str, str], list[Volume]] = {}
    for volume in volumes:
        key = volume.labels.get(LABEL_LOCK)
        if key is not None and volume.name.startswith(_PREFIX):
            by_owner.setdefault((key, volume.labels.get(_OWNER, volume.name)), []).append(volume)
    return [_contender(key, owner, volumes_of_one) for (key, owner), volumes_of_one in by_owner.items()]


def _contender(key: str, owner: str, volumes: list[Volume]) -> Contender:
    first = volumes[0].labels
    return Contender(
        key,
        owner,
        first.get(_MODE) != _SHARED,
        first.get(_WHO) or "another run",
        Process.named(f"{first.get(_MACHINE, '')}-{first.get(_PROCESS, '').replace(' ', '-')}"),
        frozenset(volume.name for volume in volumes),
        max(volume.made for volume in volumes),
    )


class HeartbeatMonitor:
    """Measures for how long contenders have shown no heartbeat, by the clock of this process."""

    def __init__(self) -> None:
        # By owner: its volumes, the seconds that they have stayed the same, and when that was last checked.
        self._seen: dict[str, tuple[frozenset[str], float, float]] = {}

    def is_dead(self, contender: Contender) -> bool:
        if contender.is_near:
            return contender.has_ended
        now = time.monotonic()
        names, unchanged, last = self._seen.get(contender.owner, (contender.names, 0.0, now))
        unchanged = unchanged + min(now - last, _LONGEST_GAP) if names == contender.names else 0.0
        self._seen[contender.owner] = (contender.names, unchanged, now)
        return unchanged > HEARTBEAT_TIMEOUT
