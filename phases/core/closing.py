"""Containers as a run begins and ends: made until it is told to stop, and removed while it goes on."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, TypeVar

from phases.core.errors import HabitatError, Stopped

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class Maker:
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
        from concurrent.futures import Future

        made: Future[T] = Future()

        def work() -> None:
            try:
                self._enter()
                try:
                    made.set_result(create())
                finally:
                    self._leave()
            except BaseException as error:  # noqa: BLE001 (raised again by whoever waits)
                made.set_exception(error)

        threading.Thread(target=work, daemon=True).start()
        return made.result()

    def _enter(self) -> None:
        with self._changed:
            self.check()
            self._busy += 1

    def _leave(self) -> None:
        with self._changed:
            self._busy -= 1
            self._changed.notify_all()

    def close(self, patience: float = 60) -> None:
        """patience: seconds to wait for what is being made."""
        with self._changed:
            self._closed = True
            self._changed.wait_for(lambda: not self._busy, patience)


class Remover:
    """Removes containers while the run goes on: that takes the engine a while, and nobody waits for it.

    remove: of a container, given its id; failed: told what it raises.
    """

    def __init__(self, remove: Callable[[str], None], failed: Callable[[HabitatError], None]) -> None:
        self._remove = remove
        self._failed = failed
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()  # who waits finds none that has yet to begin

    def remove(self, container: str) -> None:
        thread = threading.Thread(target=self._attempt, args=(container,), daemon=True)
        with self._lock:
            self._threads.append(thread)
            thread.start()

    def _attempt(self, container: str) -> None:
        try:
            self._remove(container)
        except HabitatError as error:
            self._failed(error)

    def wait(self) -> None:
        """Until all that was to be removed is."""
        while thread := self._taken():
            thread.join()

    def _taken(self) -> threading.Thread | None:
        with self._lock:
            return self._threads.pop() if self._threads else None
