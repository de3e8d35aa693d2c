"""What contenders for a lock have on an engine: volumes, whose labels say of what, of whom, how, and where that is."""

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

    from phases.core.engine.protocol import Volume

#: On the volumes of a lock what it is of.
LABEL_LOCK = "habitat.lock"
_OWNER, _MODE, _WHO = "habitat.lock.owner", "habitat.lock.mode", "habitat.lock.who"
_MACHINE, _PROCESS = "habitat.lock.machine", "habitat.lock.process"
_ALONE, _SHARED = "alone", "shared"

# How their names begin: what has another name is no claim, and is never removed, whatever its labels say.
_PREFIX = "habitat-lock-"

#: Seconds for which a holder that isn't near shows no heartbeat before it counts as dead.
DEAD = 45.0

# Seconds between two looks that count in full: who looks less often has been held up, and others may have been as well.
_GLANCE = 2.0

# After how long without a heartbeat, by the engine's clock, what nobody contends for is swept away.
_OLD = timedelta(hours=1)


class Claim(Struct, frozen=True):
    """names: of its volumes, which a heartbeat changes; made: when the engine made the last of them."""

    key: str
    owner: str
    alone: bool
    who: str
    process: Process | None
    names: frozenset[str]
    made: str

    @property
    def is_near(self) -> bool:
        return bool(self.process and self.process.is_near)

    @property
    def has_ended(self) -> bool:
        """Whether its process is known not to run any more."""
        return bool(self.process and self.process.is_near and not self.process.runs)

    def is_old(self, now: str) -> bool:
        """Whether it has had no heartbeat for long. now: the engine's time, "" where that isn't known."""
        try:
            return datetime.fromisoformat(now) - datetime.fromisoformat(self.made) > _OLD
        except (ValueError, TypeError):
            return False


#: Of somebody, of whom no more is known.
UNKNOWN = Claim("", "", alone=True, who="another run", process=None, names=frozenset(), made="")


def volume_name(key: str, owner: str, beat: int) -> str:
    return f"{_PREFIX}{hashlib.sha256(key.encode()).hexdigest()[:12]}-{owner}-{beat}"


def labels(key: str, owner: str, *, alone: bool) -> dict[str, str]:
    """Of this process, from now on."""
    process = processes.current()
    return {
        LABEL_LOCK: key,
        _OWNER: owner,
        _MODE: _ALONE if alone else _SHARED,
        _WHO: f"pid {process.pid} on {os.uname().nodename} since {time.strftime('%H:%M:%S')}",
        _MACHINE: process.machine,
        _PROCESS: f"{process.pid} {process.began}".rstrip(),
    }


def found_in(volumes: Iterable[Volume]) -> list[Claim]:
    """The claims that the volumes are."""
    by_owner: dict[tuple[str, str], list[Volume]] = {}
    for volume in volumes:
        key = volume.labels.get(LABEL_LOCK)
        if key is not None and volume.name.startswith(_PREFIX):
            by_owner.setdefault((key, volume.labels.get(_OWNER, volume.name)), []).append(volume)
    return [_claim(key, owner, found) for (key, owner), found in by_owner.items()]


def _claim(key: str, owner: str, volumes: list[Volume]) -> Claim:
    said = volumes[0].labels
    return Claim(
        key,
        owner,
        said.get(_MODE) != _SHARED,
        said.get(_WHO) or "another run",
        Process.named(f"{said.get(_MACHINE, '')}-{said.get(_PROCESS, '').replace(' ', '-')}"),
        frozenset(volume.name for volume in volumes),
        max(volume.made for volume in volumes),
    )


class ClaimMonitor:
    """For how long claims have stayed the same, as far as they were looked at."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[frozenset[str], float, float]] = {}

    def is_dead(self, claim: Claim) -> bool:
        if claim.is_near:
            return claim.has_ended
        now = time.monotonic()
        names, still, last = self._seen.get(claim.owner, (claim.names, 0.0, now))
        still = still + min(now - last, _GLANCE) if names == claim.names else 0.0
        self._seen[claim.owner] = (claim.names, still, now)
        return still > DEAD
