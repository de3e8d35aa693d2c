"""Containers as a run begins and ends: made until it is told to stop, and removed while it goes on."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, TypeVar

from phases.core.errors import HabitatError, Stopped

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

# Seconds that what is being made when the run is to end may take: a little more than a request may (`patience`).
_FAREWELL = 2.5


class ContainerCreator:
    """Where containers are made. Once it is closed, every container that was made here is there to be
    found, and no other will be.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._closed = False
        self._busy = 0

    def check(self) -> None:
        """Raises Stopped when it is closed."""
        if self._closed:
            raise Stopped("the run was told to stop")

    def make(self, create: Callable[[], T]) -> T:
        """What `create` returns or raises; Stopped when it is closed.

        In a thread of its own: a signal interrupts whoever waits for it, but not the request, of
        which nobody would know whether it left a container.
        """
        # What concurrent.futures has for this takes longer to load than a container to be looked at.
        made: list[T] = []
        failed: list[BaseException] = []
        done = threading.Event()

        def work() -> None:
            try:
                self._enter()
                try:
                    made.append(create())
                finally:
                    self._leave()
            except BaseException as error:  # noqa: BLE001 (raised again by whoever waits)
                failed.append(error)
            finally:
                done.set()

        threading.Thread(target=work, daemon=True).start()
        done.wait()
        if failed:
            raise failed[0]
        return made[0]

    def _enter(self) -> None:
        with self._changed:
            self.check()
            self._busy += 1

    def _leave(self) -> None:
        with self._changed:
            self._busy -= 1
            self._changed.notify_all()

    def close(self, patience: float = _FAREWELL) -> None:
        """patience: seconds to wait for what is being made."""
        with self._changed:
            self._closed = True
            self._changed.wait_for(lambda: not self._busy, patience)


class BackgroundRemover:
    """Removes containers while the run goes on: that takes the engine a while, and nobody waits for it.

    remove: of a container, given its id and what to call once the engine is sure to do it; failed: told what it raises.
    """

    def __init__(
        self, remove: Callable[[str, Callable[[], None]], None], failed: Callable[[HabitatError], None]
    ) -> None:
        self._remove = remove
        self._failed = failed
        self._removals: list[tuple[threading.Thread, threading.Event]] = []
        self._lock = threading.Lock()  # who waits finds none that has yet to begin

    def remove(self, container: str) -> None:
        sure = threading.Event()
        thread = threading.Thread(target=self._attempt, args=(container, sure), daemon=True)
        with self._lock:
            self._removals.append((thread, sure))
            thread.start()

    def _attempt(self, container: str, sure: threading.Event) -> None:
        try:
            self._remove(container, sure.set)
        except HabitatError as error:
            self._failed(error)
        finally:
            sure.set()

    def wait(self, *, until_gone: bool = True) -> None:
        """Until all that was to be removed is; else until the engine is sure to remove it."""
        while removal := self._taken():
            thread, sure = removal
            if until_gone:
                thread.join()
            else:
                sure.wait()

    def _taken(self) -> tuple[threading.Thread, threading.Event] | None:
        with self._lock:
            return self._removals.pop() if self._removals else None
