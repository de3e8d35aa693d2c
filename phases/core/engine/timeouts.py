"""Timeouts of requests to the engine: how long a run waits for an answer, and when it reports a wait."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")

#: Seconds that the engine may take to answer. Commits of gigabytes take a while.
ANSWER_TIMEOUT = 600

#: Seconds without an answer after which a run reports which request is waiting: outside of a phase, and in a phase,
#: whose line shows that something runs.
SILENCE, PHASE_SILENCE = 2, 10

#: The timeout of a socket, in seconds: how often `RequestTimer` checks how long a request has been waiting.
POLL_INTERVAL = 0.25

# Seconds that a request may take once the run is ending, and those of one to an engine that is silent. With these, and
# with the work after the last request, a run on an engine that sends nothing ends within 2 seconds.
_CLOSING_TIMEOUT, _SILENT_CLOSING_TIMEOUT = 1.2, 0.1


class ResponseTimeout:
    """How long one run waits for one engine.

    Args:
        seconds: How long the engine may be silent before it counts as stopped.

    Attributes:
        report: Called with one line for the person about each request that waits for longer than `silence`.
    """

    def __init__(self, seconds: float = ANSWER_TIMEOUT) -> None:
        self.seconds = seconds
        self.report: Callable[[str], None] = lambda _: None
        self._interrupted: list[str] = []
        self._timed_out: list[str] = []
        self._shortened_at: float | None = None
        self._has_answered = False  # since then
        self._silent_requests = 0  # that timed out since the last answer
        self._phases = 0

    @contextmanager
    def in_phase(self) -> Iterator[None]:
        """Report a wait later in this block, since the person sees which phase runs."""
        self._phases += 1
        try:
            yield
        finally:
            self._phases -= 1

    @property
    def silence(self) -> float:
        """The seconds after which a request that waits is reported."""
        return PHASE_SILENCE if self._phases else SILENCE

    def shorten(self) -> None:
        """Wait for at most two seconds from now on, because the run is ending."""
        if self._shortened_at is None:
            self._shortened_at = time.monotonic()

    @property
    def is_short(self) -> bool:
        return self._shortened_at is not None

    @property
    def unanswered(self) -> list[str]:
        """The requests that a silent engine hadn't answered when the run had to end."""
        return list(dict.fromkeys((*self._interrupted, *self._timed_out)))

    def record_timeout(self, action: str) -> None:
        """Note that nothing waits for the answer to this request any more."""
        if self.is_short:
            self._timed_out.append(action)
            self._silent_requests += 1

    def record_answer(self) -> None:
        """Note that the engine has sent something."""
        self._has_answered = self.is_short
        self._silent_requests = 0

    @property
    def _is_silent(self) -> bool:
        """Return whether the engine seems to be stopped. One that has answered may take long for a single request."""
        return self._silent_requests > (1 if self._has_answered else 0)

    def record_interrupt(self, action: str, silent: float) -> None:
        """Note that a signal ended the wait for this answer after `silent` seconds without a byte."""
        if silent >= _CLOSING_TIMEOUT:
            self._interrupted.append(action)

    def remaining(self, last_received: float, expected: float) -> float:
        """Return the seconds that a request may still wait.

        Args:
            last_received: When the last byte for it arrived, as of `time.monotonic`.
            expected: The seconds that it normally takes.
        """
        if self._shortened_at is None:
            return last_received + expected + self.seconds - time.monotonic()
        seconds = min(self.seconds, _SILENT_CLOSING_TIMEOUT if self._is_silent else _CLOSING_TIMEOUT)
        return max(last_received, self._shortened_at) + expected + seconds - time.monotonic()


class RequestTimer:
    """Waits for the answer to one request.

    Args:
        timeout: The timeout of the run.
        action: What the request does, for a person.
        expected: The seconds that it normally takes.
    """

    def __init__(self, timeout: ResponseTimeout, action: str, expected: float = 0) -> None:
        self._timeout = timeout
        self._action = action
        self._expected = expected
        self._last_received = time.monotonic()
        self._sent_at = time.strftime("%H:%M:%S")
        self._is_reported = False

    def retry(self, operation: Callable[[], T]) -> T:
        """Call `operation` again as long as it raises TimeoutError and the request may wait. Return its result.

        Raises:
            TimeoutError: The request has waited for too long.
        """
        while True:
            try:
                result = operation()
            except TimeoutError:
                self._check()
            except KeyboardInterrupt:
                self._timeout.record_interrupt(self._action, self._silent)
                raise
            else:
                self._last_received = time.monotonic()
                return result

    def receive(self, operation: Callable[[], T]) -> T:
        """Do as `retry` for an operation whose result is what the engine has sent."""
        result = self.retry(operation)
        if result:
            self._timeout.record_answer()
        return result

    @property
    def _silent(self) -> float:
        return time.monotonic() - self._last_received

    def _check(self) -> None:
        if self._timeout.remaining(self._last_received, self._expected) <= 0:
            self._timeout.record_timeout(self._action)
            raise TimeoutError(self._action)
        if not self._is_reported and self._silent >= self._expected + self._timeout.silence and self._action:
            self._is_reported = True
            self._timeout.report(waiting_message(self._action, self._sent_at))


def waiting_message(action: str, sent_at: str) -> str:
    """Return the line about a request that waits. sent_at: the time of day when it was sent."""
    return f"still waiting for the engine, asked at {sent_at}: {action}; Ctrl-C ends the run"
