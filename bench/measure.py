"""Running commands, and the time they take."""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path


@dataclass
class Side:
    """One way to do what a row is about. before: what is not measured; run: returns what is, in seconds
    or bytes; figures: what it returned.
    """

    name: str
    run: Callable[[], float]
    before: Callable[[], object] = lambda: None
    figures: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.figures)


# Seconds between two runs.
_PAUSE = 0.5


class Target(NamedTuple):
    """What ours is to come to: at most so many times theirs, or so many seconds."""

    limit: float
    in_seconds: bool = False

    def reached(self, ours: Side, theirs: Side) -> bool:
        return (ours.median if self.in_seconds else ours.median / theirs.median) <= self.limit

    def __str__(self) -> str:
        return f"{self.limit:.2f} s" if self.in_seconds else f"{self.limit:.2f} ×"


def take_turns(sides: Sequence[Side], runs: int) -> None:
    """Measure each side `runs` times, after once that doesn't count. In between there is a pause, so that none pays
    for what the one before has left to the engine to do.
    """
    for number in range(runs + 1):
        for side in sides:
            side.before()
            time.sleep(_PAUSE)
            figure = side.run()
            if number:
                side.figures.append(figure)


def command(argv: Sequence[str], folder: Path, env: Mapping[str, str] | None = None) -> None:
    """Run a command that has to succeed. Raises RuntimeError with what it printed."""
    done = subprocess.run(
        argv,
        cwd=folder,
        env={**os.environ, **(env or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(argv)} ended with {done.returncode}:\n{done.stdout.decode(errors='replace')}")


def seconds(argv: Sequence[str], folder: Path, env: Mapping[str, str] | None = None) -> float:
    """How long a command takes."""
    started = time.perf_counter()
    command(argv, folder, env)
    return time.perf_counter() - started


def seconds_until(word: str, argv: Sequence[str], folder: Path, env: Mapping[str, str] | None = None) -> float:
    """How long until a line of a command's output is `word`; the rest of it is waited for as well."""
    started = time.perf_counter()
    with subprocess.Popen(
        argv,
        cwd=folder,
        env={**os.environ, **(env or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout
        found = [time.perf_counter() for line in process.stdout if line.strip() == word]
    if not found:
        raise RuntimeError(f"{' '.join(argv)} never printed {word}")
    return found[0] - started


def seconds_of_all(commands: Sequence[Sequence[str]], folder: Path, env: Mapping[str, str] | None = None) -> float:
    """How long several commands take that are begun at once."""
    started = time.perf_counter()
    running = [
        subprocess.Popen(
            argv,
            cwd=folder,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for argv in commands
    ]
    codes = [process.wait() for process in running]
    if any(codes):
        raise RuntimeError(f"ended with {codes}: {' '.join(commands[0])}, …")
    return time.perf_counter() - started
