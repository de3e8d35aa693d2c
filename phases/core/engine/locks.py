"""Locks on what an engine has, held on that engine. So every run that can change it meets them, by whatever address and
from whatever machine, namespace or account it comes.

Each contender makes a volume of its own, and then lists which others there are of the same lock. Its volume is there
before it looks, and until it lets go. So of two that exclude each other at least one sees the other, and gives way:
there are never two holders. A fixed name, made only if it is absent, would not do. The API can't remove a name only if
it is still a certain holder's, so a run that removes a dead holder's lock could remove its successor's.

A holder makes a new volume with each heartbeat. One that ends without letting go is dead. If its process could be seen
here, it is dead once that doesn't run. Else it is dead once its volumes have stayed the same for long, by the clock of
the run that looks. The next contender for any lock removes what the dead have left. A holder that was taken for dead,
or whose volume somebody has removed, notices at its next heartbeat, or when it asks (`EngineLock.check`).
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
    from phases.core.engine.lock_volumes import Claim
    from phases.core.engine.protocol import Engine

# Seconds between two heartbeats.
_BEAT = 10.0

# Seconds after which what the engine has refused is tried again, and how often a removal is.
_AGAIN, _TRIES = 1.0, 5

# Seconds until who had to give way looks again, at least and at most; up to so many times as long where it takes long.
_PAUSE, _SLOWER = (0.05, 0.15), 4

# How often, with a pause, a holder whose volume is gone looks whether somebody else is one: a contender gives way.
_LOOKS = 7


class EngineLocks:
    """Those that a run has or wants. maker: whether it is told to stop, and whether a request is under way then."""

    def __init__(self, engine: Engine, maker: ContainerCreator) -> None:
        self.engine = engine
        self.maker = maker
        self._open: set[EngineLock] = set()
        self._going: set[str] = set()
        self._closing = threading.Event()
        self._remover = BackgroundRemover(lambda name, _: self._remove(name), lambda _: None)

    def lock(self, key: str, *, alone: bool = True) -> EngineLock:
        """To be acquired. alone: nobody else has it meanwhile, else nobody who wants to be alone."""
        return EngineLock(self, key, alone=alone)

    def close(self) -> None:
        """Let go of all of them; to be called once the maker is closed."""
        self._closing.set()
        for lock in list(self._open):
            lock.release()
        self.settle()

    def settle(self) -> None:
        """Wait until others see that what was released is."""
        self._remover.wait()

    # For its locks

    def note(self, lock: EngineLock, *, is_open: bool) -> None:
        (self._open.add if is_open else self._open.discard)(lock)

    def look(self) -> list[Claim]:
        """All claims on the engine, but for those that this run has given up."""
        volumes = self.engine.volumes(label=lock_volumes.LABEL_LOCK)
        return lock_volumes.found_in(volume for volume in volumes if volume.name not in self._going)

    def give_up(self, name: str) -> None:
        """Remove a volume while the run goes on: that takes the engine a while, and nobody here waits for it."""
        self._going.add(name)
        self._remover.remove(name)

    def _remove(self, name: str) -> None:
        """As long as this process runs nobody else does."""
        for _ in range(_TRIES):
            with suppress(HabitatError):
                self.engine.remove_volume(name)
                self._going.discard(name)
                return
            if self._closing.wait(_AGAIN):
                return

    def bury(self, dead: Iterable[Claim]) -> None:
        """Remove what they have left. What can't be removed holds nobody up either."""
        for claim in dead:
            for name in claim.names:
                with suppress(HabitatError):
                    self.engine.remove_volume(name)


class EngineLock:
    """One of them, to be acquired once."""

    def __init__(self, locks: EngineLocks, key: str, *, alone: bool) -> None:
        self._locks = locks
        self._engine = locks.engine
        self._key = key
        self._alone = alone
        self._owner = os.urandom(6).hex()
        self._labels: dict[str, str] = {}
        self._names: list[str] = []  # of its volumes, the last heartbeat's last
        self._sure = ""  # the last of them that was seen to be there
        self._beats = 0
        self._beaten = 0.0  # when the heartbeat began that made it
        self._watch = lock_volumes.ClaimMonitor()
        self._guard = threading.Lock()
        self._released = threading.Event()
        self._is_held = self._is_gone = self._was_gone = False
        self._lost_to = ""

    # Acquiring

    def acquire(self, tell: Callable[[str], None], patience: float = 0.0) -> bool:
        """Returns whether it had to wait; tells for whom, once that has taken longer than `patience`. Raises Stopped
        when the run is told to stop meanwhile.
        """
        waited, told, attempt = 0.0, False, self._begin
        while holder := self._locks.maker.make(attempt):
            if waited > patience and not told:
                tell(holder.who)
                told = True
            waited, attempt = waited + _pause(waited), self._look_and_begin
        return bool(waited)

    def take(self, patience: float) -> bool:
        """Acquire it, also in a run that is told to stop; not where others have it who share it. patience: seconds for
        which one that is alone with it is waited for. Returns whether it is held.
        """
        waited = 0.0
        while holder := self._begin():
            if not holder.alone or waited > patience:
                return False
            waited += _pause(waited)
        return True

    def _look_and_begin(self) -> Claim | None:
        """The same, once that is worth it."""
        return self._in_the_way() or self._begin()

    def _begin(self) -> Claim | None:
        """Returns who is in the way, None once it is held."""
        with self._guard:
            self._locks.note(self, is_open=True)
            try:
                self._beaten = _now()
                self._labels = lock_volumes.labels(self._key, self._owner, alone=self._alone)
                self._sure = self._beat()
                holder = self._in_the_way()
            except BaseException:
                self._let_go()
                raise
            if holder:
                self._let_go()
                return holder
            self._is_held = True
        threading.Thread(target=self._live, daemon=True).start()
        return None

    def _in_the_way(self) -> Claim | None:
        """Who is; somebody also where its own volume isn't there: then this one was taken for dead."""
        found = self._locks.look()
        rivals, dead = self._sorted(found)
        if dead:
            self._locks.bury(dead)
            # One that only stood still goes on under other names.
            found = self._locks.look()
            rivals = [claim for claim in self._rivals(found) if claim not in dead]
        if self._names and not self._is_there(found):
            return lock_volumes.UNKNOWN
        return rivals[0] if rivals else None

    def _sorted(self, found: list[Claim]) -> tuple[list[Claim], list[Claim]]:
        """Rivals that live, and all claims that are dead, whatever they are on."""
        own = next((claim.made for claim in found if claim.owner == self._owner), "")
        rivals = self._rivals(found)
        dead = [claim for claim in found if claim.has_ended or (claim in rivals and self._watch.is_dead(claim))]
        dead += [claim for claim in found if claim.key != self._key and not claim.is_near and claim.is_old(own)]
        return [claim for claim in rivals if claim not in dead], dead

    def _rivals(self, found: list[Claim]) -> list[Claim]:
        return [
            claim
            for claim in found
            if claim.key == self._key and claim.owner != self._owner and (claim.alone or self._alone)
        ]

    # Holding

    @property
    def is_held(self) -> bool:
        return self._is_held and not self._lost_to

    def check(self) -> bool:
        """Raises HabitatError where somebody else has it, or may have changed what it is of. Returns whether somebody
        else may have had it since the last check: for so short a while that nobody took this one for dead.
        """
        with self._guard:
            if self.is_held and (self._is_gone or not self._is_there(self._locks.look())):
                self._regain()
            if not self.is_held:
                raise HabitatError(
                    f"another run has it by now ({self._lost_to})",
                    where=f"the lock '{self._key}'",
                    remedy="run the same command again",
                )
            was_gone, self._was_gone = self._was_gone, False
            return was_gone

    def release(self) -> None:
        self._released.set()
        # A heartbeat that waits for the engine lets go of it when that has answered.
        if self._guard.acquire(timeout=_AGAIN):
            try:
                self._let_go()
            finally:
                self._guard.release()

    def _let_go(self) -> None:
        """A signal may come at any point of it: then it is done again."""
        self._is_held = False
        while self._names:
            self._locks.give_up(self._names[-1])
            self._names.pop()
        self._locks.note(self, is_open=False)

    def _live(self) -> None:
        """Show that this process does, in a thread of its own."""
        pause = _BEAT
        while not self._released.wait(pause) and self.is_held:
            with self._guard:
                try:
                    if self.is_held:
                        self._renew()
                    pause = _BEAT
                except HabitatError:  # whoever asks the engine next tells
                    pause = _AGAIN
        self.release()

    def _renew(self) -> None:
        """A heartbeat. The volume before stays until the next: an engine may be at a list without this."""
        began, name = _now(), self._beat()
        if self._is_gone or not self._is_there(self._locks.look()):
            self._regain()
            return
        before, self._sure, self._beaten = self._sure, name, began
        for old in [old for old in self._names if old not in (before, name)]:
            self._engine.remove_volume(old)
            self._names.remove(old)

    def _beat(self) -> str:
        """Make a volume that is new. Returns its name."""
        name = lock_volumes.volume_name(self._key, self._owner, self._beats)
        self._beats += 1
        self._names.append(name)  # before it is made: a request that is cut off may still do so
        self._engine.create_volume(name, self._labels)
        return name

    def _regain(self) -> None:
        """Its volume was gone: have it once more, unless somebody else holds it, or may have and is through."""
        self._is_gone = True
        began = _now()
        rivals: list[Claim] = []
        if began - self._beaten < lock_volumes.DEAD:
            self._sure = self._beat()
            for _ in range(_LOOKS):
                found = self._locks.look()
                rivals = [claim for claim in self._rivals(found) if not claim.has_ended]
                if self._is_there(found) and not rivals:
                    self._beaten, self._is_gone, self._was_gone = began, False, True
                    return
                time.sleep(_PAUSE[1])
        self._lost_to = rivals[0].who if rivals else "which took this one for dead"
        self._let_go()

    def _is_there(self, found: list[Claim]) -> bool:
        """Whether its volume is that was seen to be."""
        return any(self._sure in claim.names for claim in found)


def _pause(waited: float) -> float:
    """Let a while pass, at random, so that two who give way come back one by one. Returns the seconds."""
    seconds = random.uniform(*_PAUSE) * min(1 + waited, _SLOWER)  # noqa: S311
    time.sleep(seconds)
    return seconds


def _now() -> float:
    """Seconds, those that the machine sleeps among them."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
