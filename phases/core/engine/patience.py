"""How long an engine may be silent, who is told when it is, and how soon nobody waits any more once a run is to end."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

#: Seconds that the engine may take to answer. Commits of gigabytes take a while.
PATIENCE = 600

#: Seconds without an answer after which a person is told what is waited for.
SILENCE = 10

#: Seconds between two looks at how long a request has been waiting: what a socket's timeout has to be.
GLANCE = 0.25

# Seconds that a request may take once the run is to end, and where another had no answer by then.
_FAREWELL, _CURT = 2.0, 0.5


class Patience:
    """That of a run with one engine. seconds: after which a silent engine counts as gone; tell: gets a line about each
    request that waits for long.
    """

    def __init__(self, seconds: float = PATIENCE) -> None:
        self.seconds = seconds
        self.tell: Callable[[str], None] = lambda _: None
        self._abandoned: list[str] = []
        self._unanswered: list[str] = []
        self._ends: float | None = None

    def hurry(self) -> None:
        """The run is to end, so from now on it waits for seconds only."""
        if self._ends is None:
            self._ends = time.monotonic()

    @property
    def hurries(self) -> bool:
        return self._ends is not None

    @property
    def unanswered(self) -> list[str]:
        """What was asked of a silent engine, and had no answer before the run had to end."""
        return list(dict.fromkeys((*self._abandoned, *self._unanswered)))

    def give_up(self, what: str) -> None:
        """Nobody waits for an answer to this any longer."""
        if self.hurries:
            self._unanswered.append(what)

    def abandon(self, what: str, silent: float) -> None:
        """A signal has ended the wait for this answer, after so many seconds of silence."""
        if silent >= _FAREWELL:
            self._abandoned.append(what)

    def left(self, heard: float, due: float) -> float:
        """Seconds that a request may still wait. heard: when the engine was last heard of it, as of time.monotonic;
        due: seconds that it may take rightly.
        """
        if self._ends is None:
            return heard + due + self.seconds - time.monotonic()
        more = min(self.seconds, _CURT if self._unanswered else _FAREWELL)
        return max(heard, self._ends) + due + more - time.monotonic()


class Vigil:
    """The wait for the answer to one request. what: is being done by it; due: seconds that this may take rightly."""

    def __init__(self, patience: Patience, what: str, due: float = 0) -> None:
        self._patience = patience
        self._what = what
        self._due = due
        self._heard = time.monotonic()
        self._asked = time.strftime("%H:%M:%S")
        self._told = False

    def wait(self, act: Callable[[], T]) -> T:
        """What `act` returns, which is tried again whenever it raises TimeoutError, as long as there is patience."""
        while True:
            try:
                done = act()
            except TimeoutError:
                self._look()
            except KeyboardInterrupt:
                self._patience.abandon(self._what, self._silent)
                raise
            else:
                self._heard = time.monotonic()
                return done

    @property
    def _silent(self) -> float:
        return time.monotonic() - self._heard

    def _look(self) -> None:
        if self._patience.left(self._heard, self._due) <= 0:
            self._patience.give_up(self._what)
            raise TimeoutError(self._what)
        if not self._told and self._silent >= self._due + SILENCE and self._what:
            self._told = True
            self._patience.tell(silence(self._what, self._asked))


def silence(what: str, asked: str) -> str:
    """What a person is told of a request that waits. asked: the time of day when it was sent."""
    return f"still waiting for the engine, asked at {asked}: {what}; Ctrl-C ends the run"
