"""Locks that are held on the engine itself.

They hold for every run that uses the engine, whatever address, machine, namespace or account it uses it from.

Each contender makes a volume of its own, and then lists the volumes of the other contenders for the same lock. Its
volume is there before it looks, and until it releases the lock. So of two that exclude each other at least one sees the
other, and gives way: there are never two holders. A volume with a fixed name would not do. The API can't remove a
volume only if it still belongs to a certain holder, so a run that removes a dead holder's lock could remove its
successor's.

A holder makes a new volume with each heartbeat. A holder whose process has ended without releasing the lock is dead. If
its process would be visible here, it is dead once that doesn't run. Else it is dead once its volumes have stayed the
same for long, by the clock of the run that looks. The next contender for any lock removes what dead ones have left. A
holder that was taken for dead, or whose volume somebody has removed, notices at its next heartbeat, or when it checks
(`EngineLock.check`).
"""

from __future__ import annotations

import os
import random
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from phases.core.engine import lock_volumes
from phases.core.engine.background import BackgroundRemover
from phases.core.errors import HabitatError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from phases.core.engine.background import ContainerCreator
    from phases.core.engine.lock_volumes import Contender
    from phases.core.engine.protocol import Engine

# Seconds between two heartbeats.
_HEARTBEAT = 10.0

# Seconds after which a request that the engine refused is tried again, and how often a removal is.
_RETRY_AFTER, _REMOVAL_TRIES = 1.0, 5

# The shortest and the longest pause, in seconds, before a contender that gave way looks again. A long wait makes pauses
# longer, up to so many times.
_PAUSE, _LONGEST_FACTOR = (0.05, 0.15), 4

# How often a holder whose volume is gone looks for another holder, with pauses: a mere contender gives way meanwhile.
_REACQUIRE_LOOKS = 7


class EngineLocks:
    """The locks that one run holds or wants.

    Args:
        engine: The engine that holds them.
        maker: Says whether the run was told to stop, and lets a request in flight end.
    """

    def __init__(self, engine: Engine, maker: ContainerCreator) -> None:
        self.engine = engine
        self.maker = maker
        self._open: set[EngineLock] = set()
        self._being_removed: set[str] = set()
        self._closing = threading.Event()
        self._remover = BackgroundRemover(lambda name, _: self._remove(name), lambda _: None)

    def lock(self, key: str, *, exclusive: bool = True) -> EngineLock:
        """Return a lock to acquire. An exclusive one has one holder, others have any number of holders."""
        return EngineLock(self, key, exclusive=exclusive)

    def close(self) -> None:
        """Release all locks. Call it once the maker is closed."""
        self._closing.set()
        for lock in list(self._open):
            lock.release()
        self.wait_for_releases()

    def wait_for_releases(self) -> None:
        """Wait until other runs see that the released locks are free."""
        self._remover.wait()

    # For the locks

    def register(self, lock: EngineLock, *, is_open: bool) -> None:
        """Note whether a lock has volumes, so that `close` releases it."""
        (self._open.add if is_open else self._open.discard)(lock)

    def contenders(self) -> list[Contender]:
        """Return all contenders on the engine, without those that this run is removing."""
        volumes = self.engine.volumes(label=lock_volumes.LABEL_LOCK)
        return lock_volumes.contenders(volume for volume in volumes if volume.name not in self._being_removed)

    def remove_in_background(self, name: str) -> None:
        """Remove a volume while the run continues, since the engine needs a while for that."""
        self._being_removed.add(name)
        self._remover.remove(name)

    def _remove(self, name: str) -> None:
        """Remove a volume of this run. No other run removes it as long as this process exists."""
        for _ in range(_REMOVAL_TRIES):
            with suppress(HabitatError):
                self.engine.remove_volume(name)
                self._being_removed.discard(name)
                return
            if self._closing.wait(_RETRY_AFTER):
                return

    def remove_dead(self, dead: Iterable[Contender]) -> None:
        """Remove what dead contenders have left. A volume that can't be removed blocks nobody."""
        for contender in dead:
            for name in contender.names:
                with suppress(HabitatError):
                    self.engine.remove_volume(name)


class EngineLock:
    """One lock, to be acquired once."""

    def __init__(self, locks: EngineLocks, key: str, *, exclusive: bool) -> None:
        self._locks = locks
        self._engine = locks.engine
        self._key = key
        self._exclusive = exclusive
        self._owner = os.urandom(6).hex()
        self._labels: dict[str, str] = {}
        self._names: list[str] = []  # of its volumes, the newest last
        self._confirmed = ""  # the newest of them that was seen in a list
        self._beats = 0
        self._confirmed_at = 0.0  # when the heartbeat began that made it
        self._monitor = lock_volumes.HeartbeatMonitor()
        self._guard = threading.Lock()
        self._released = threading.Event()
        self._is_held = self._is_missing = self._was_missing = False
        self._lost_to = ""

    # Acquiring

    def acquire(self, report: Callable[[str], None], report_after: float = 0.0) -> bool:
        """Wait for the lock.

        Args:
            report: Is called once with the holder, if the wait takes long.
            report_after: How many seconds are long.

        Returns:
            Whether it had to wait.

        Raises:
            Stopped: The run was told to stop meanwhile.
        """
        waited, is_reported, attempt = 0.0, False, self._attempt
        while holder := self._locks.maker.make(attempt):
            if waited > report_after and not is_reported:
                report(holder.who)
                is_reported = True
            waited, attempt = waited + _pause(waited), self._look_and_attempt
        return bool(waited)

    def try_acquire(self, seconds: float) -> bool:
        """Acquire the lock unless others share it, also in a run that was told to stop.

        Args:
            seconds: How long to wait for an exclusive holder.

        Returns:
            Whether it is held now.
        """
        waited = 0.0
        while holder := self._attempt():
            if not holder.exclusive or waited > seconds:
                return False
            waited += _pause(waited)
        return True

    def _look_and_attempt(self) -> Contender | None:
        """Return who blocks the lock, else attempt to acquire it: an attempt makes a volume, and a look doesn't."""
        return self._blocker() or self._attempt()

    def _attempt(self) -> Contender | None:
        """Acquire the lock, or return who blocks it."""
        with self._guard:
            self._locks.register(self, is_open=True)
            try:
                self._confirmed_at = _now()
                self._labels = lock_volumes.labels(self._key, self._owner, exclusive=self._exclusive)
                self._confirmed = self._create_volume()
                blocker = self._blocker()
            except BaseException:
                self._remove_volumes()
                raise
            if blocker:
                self._remove_volumes()
                return blocker
            self._is_held = True
        threading.Thread(target=self._run_heartbeat, daemon=True).start()
        return None

    def _blocker(self) -> Contender | None:
        """Return a living contender that excludes this one.

        If the own volume is missing, another run took this one for dead, and an unknown contender blocks.
        """
        contenders = self._locks.contenders()
        rivals, dead = self._sort(contenders)
        if dead:
            self._locks.remove_dead(dead)
            # A contender that was suspended, and not dead, continues with other volumes.
            contenders = self._locks.contenders()
            rivals = [contender for contender in self._rivals(contenders) if contender not in dead]
        if self._names and not self._is_listed(contenders):
            return lock_volumes.UNKNOWN
        return rivals[0] if rivals else None

    def _sort(self, contenders: list[Contender]) -> tuple[list[Contender], list[Contender]]:
        """Return the living rivals, and all dead contenders for any lock."""
        own = next((contender.made for contender in contenders if contender.owner == self._owner), "")
        rivals = self._rivals(contenders)
        dead = [one for one in contenders if one.has_ended or (one in rivals and self._monitor.is_dead(one))]
        dead += [one for one in contenders if one.key != self._key and not one.is_near and one.is_old(own)]
        return [rival for rival in rivals if rival not in dead], dead

    def _rivals(self, contenders: list[Contender]) -> list[Contender]:
        """Return the contenders that exclude this one."""
        return [
            contender
            for contender in contenders
            if contender.key == self._key
            and contender.owner != self._owner
            and (contender.exclusive or self._exclusive)
        ]

    # Holding

    @property
    def is_held(self) -> bool:
        return self._is_held and not self._lost_to

    def check(self) -> bool:
        """Check that the lock is still held.

        Returns:
            Whether another run may have held it since the last check. If so it was for a moment, and that run didn't
            take this one for dead.

        Raises:
            HabitatError: Another run holds it, or may have held it for long.
        """
        with self._guard:
            if self.is_held and (self._is_missing or not self._is_listed(self._locks.contenders())):
                self._reacquire()
            if not self.is_held:
                raise HabitatError(
                    f"another run has it by now ({self._lost_to})",
                    where=f"the lock '{self._key}'",
                    remedy="run the same command again",
                )
            was_missing, self._was_missing = self._was_missing, False
            return was_missing

    def release(self) -> None:
        self._released.set()
        # A heartbeat that waits for the engine releases the lock when it has the answer.
        if self._guard.acquire(timeout=_RETRY_AFTER):
            try:
                self._remove_volumes()
            finally:
                self._guard.release()

    def _remove_volumes(self) -> None:
        """Give the lock up. A signal may interrupt this at any point, so it can be called again."""
        self._is_held = False
        while self._names:
            self._locks.remove_in_background(self._names[-1])
            self._names.pop()
        self._locks.register(self, is_open=False)

    def _run_heartbeat(self) -> None:
        """Show other runs that this process lives, in a thread of its own."""
        pause = _HEARTBEAT
        while not self._released.wait(pause) and self.is_held:
            with self._guard:
                try:
                    if self.is_held:
                        self._beat()
                    pause = _HEARTBEAT
                except HabitatError:  # the next request of the run reports it
                    pause = _RETRY_AFTER
        self.release()

    def _beat(self) -> None:
        """Make a new volume. The one before stays until the next heartbeat: a list may lack one that is just made."""
        began, name = _now(), self._create_volume()
        if self._is_missing or not self._is_listed(self._locks.contenders()):
            self._reacquire()
            return
        before, self._confirmed, self._confirmed_at = self._confirmed, name, began
        for old in [old for old in self._names if old not in (before, name)]:
            self._engine.remove_volume(old)
            self._names.remove(old)

    def _create_volume(self) -> str:
        """Make a new volume. Return its name."""
        name = lock_volumes.volume_name(self._key, self._owner, self._beats)
        self._beats += 1
        self._names.append(name)  # before the request, which may succeed although it is interrupted
        self._engine.create_volume(name, self._labels)
        return name

    def _reacquire(self) -> None:
        """Acquire the lock again after its volume disappeared, unless another run holds it or may have held it."""
        self._is_missing = True
        began = _now()
        rivals: list[Contender] = []
        if began - self._confirmed_at < lock_volumes.HEARTBEAT_TIMEOUT:
            self._confirmed = self._create_volume()
            for _ in range(_REACQUIRE_LOOKS):
                contenders = self._locks.contenders()
                rivals = [rival for rival in self._rivals(contenders) if not rival.has_ended]
                if self._is_listed(contenders) and not rivals:
                    self._confirmed_at, self._is_missing, self._was_missing = began, False, True
                    return
                time.sleep(_PAUSE[1])
        self._lost_to = rivals[0].who if rivals else "which took this one for dead"
        self._remove_volumes()

    def _is_listed(self, contenders: list[Contender]) -> bool:
        """Return whether the confirmed volume is among those of the contenders."""
        return any(self._confirmed in contender.names for contender in contenders)


def _pause(waited: float) -> float:
    """Wait for a random time, so that two contenders that gave way don't meet again. Return the seconds."""
    seconds = random.uniform(*_PAUSE) * min(1 + waited, _LONGEST_FACTOR)  # noqa: S311
    time.sleep(seconds)
    return seconds


def _now() -> float:
    """Return seconds of a clock that also runs while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
