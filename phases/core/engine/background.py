"""Containers are created in threads that a signal can't interrupt, and removed in the background."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, TypeVar

from phases.core.errors import HabitatError, Stopped

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

# Seconds that a creation may still take when the run is ending: a little more than a request may (`timeouts`).
_CLOSING_TIMEOUT = 1.6


class ContainerCreator:
    """Creates containers in threads of their own. After `close` it creates no more, and has reported all it created."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._closed = False
        self._busy = 0

    def check(self) -> None:
        """Raise Stopped if it is closed."""
        if self._closed:
            raise Stopped("the run was told to stop")

    def make(self, create: Callable[[], T]) -> T:
        """Call `create` in a thread. Return its result, or raise what it raises.

        A signal interrupts the wait for the thread, but not the request in it. After an interrupted request nobody
        would know whether it left a container.

        Raises:
            Stopped: It is closed.
        """
        # Importing concurrent.futures takes longer than inspecting a container.
        results: list[T] = []
        errors: list[BaseException] = []
        done = threading.Event()

        def work() -> None:
            try:
                self._enter()
                try:
                    results.append(create())
                finally:
                    self._leave()
            except BaseException as error:  # noqa: BLE001 (raised again below)
                errors.append(error)
            finally:
                done.set()

        threading.Thread(target=work, daemon=True).start()
        done.wait()
        if errors:
            raise errors[0]
        return results[0]

    def _enter(self) -> None:
        with self._changed:
            self.check()
            self._busy += 1

    def _leave(self) -> None:
        with self._changed:
            self._busy -= 1
            self._changed.notify_all()

    def close(self, timeout: float = _CLOSING_TIMEOUT) -> None:
        """Refuse further creations, and wait up to `timeout` seconds for those that have begun."""
        with self._changed:
            self._closed = True
            self._changed.wait_for(lambda: not self._busy, timeout)


class BackgroundTasks:
    """Calls functions one after the other in a thread, while the run continues.

    Args:
        on_error: Is called with each error that a function raises.
    """

    def __init__(self, on_error: Callable[[HabitatError], None]) -> None:
        self._on_error = on_error
        self._changed = threading.Condition()
        self._waiting: list[Callable[[], None]] = []
        self._is_running = False
        self._failure: BaseException | None = None

    def add(self, call: Callable[[], None]) -> None:
        """Call a function after all that were added before."""
        with self._changed:
            self._waiting.append(call)
            if not self._is_running:
                self._begin()

    def _begin(self) -> None:
        self._is_running = True
        threading.Thread(target=self._work, daemon=True).start()

    def _work(self) -> None:
        failure: BaseException | None = None
        try:
            while call := self._next():
                try:
                    call()
                except HabitatError as error:
                    self._on_error(error)
        except BaseException as error:  # noqa: BLE001 (such as that nobody reads our output: `wait` raises it)
            failure = error
        with self._changed:
            self._failure = self._failure or failure
            self._is_running = False
            if self._waiting:  # added meanwhile
                self._begin()
            self._changed.notify_all()

    def _next(self) -> Callable[[], None] | None:
        with self._changed:
            return self._waiting.pop(0) if self._waiting else None

    def drop(self) -> None:
        """Forget the functions that have not been called yet."""
        with self._changed:
            self._waiting.clear()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until all functions have returned, `timeout` seconds at most. Return whether they have.

        Raises the first error, such as OutputLost, that is no HabitatError, or that `on_error` raised.
        """
        with self._changed:
            have_returned = self._changed.wait_for(lambda: not self._is_running, timeout)
            if failure := self._failure:
                self._failure = None
                raise failure
            return have_returned


class BackgroundRemover:
    """Removes containers while the run continues, because a removal takes the engine a while.

    Args:
        remove: Removes a container. It gets the id, and a function to call once the engine has the request.
        on_error: Is called with each error that `remove` raises.
    """

    def __init__(
        self, remove: Callable[[str, Callable[[], None]], None], on_error: Callable[[HabitatError], None]
    ) -> None:
        self._remove = remove
        self._on_error = on_error
        self._removals: list[tuple[threading.Thread, threading.Event]] = []
        self._failures: list[BaseException] = []
        self._lock = threading.Lock()  # so that `wait` finds no thread that has yet to start

    def remove(self, container: str) -> None:
        sent = threading.Event()
        thread = threading.Thread(target=self._attempt, args=(container, sent), daemon=True)
        with self._lock:
            self._removals.append((thread, sent))
            thread.start()

    def _attempt(self, container: str, sent: threading.Event) -> None:
        try:
            self._remove(container, sent.set)
        except HabitatError as error:
            self._report(error)
        except BaseException as error:  # noqa: BLE001 (such as that nobody reads our output: `wait` raises it)
            self._failures.append(error)
        finally:
            sent.set()

    def _report(self, error: HabitatError) -> None:
        try:
            self._on_error(error)
        except BaseException as failure:  # noqa: BLE001 (as above)
            self._failures.append(failure)

    def wait(self, *, until_gone: bool = True) -> None:
        """Wait until all containers are removed, or only until the engine has all requests to remove them.

        Raises an error, such as OutputLost, that is no HabitatError, or that `on_error` raised.
        """
        while removal := self._next():
            thread, sent = removal
            if until_gone:
                thread.join()
            else:
                sent.wait()
        if self._failures:
            failure, self._failures = self._failures[0], []
            raise failure

    def _next(self) -> tuple[threading.Thread, threading.Event] | None:
        with self._lock:
            return self._removals.pop() if self._removals else None
