"""Run commands and measure the time they take."""

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
    """One way to do the work of a row.

    Attributes:
        name: The name in the table.
        run: Does the work, and returns its figure in seconds or bytes.
        before: Prepares a run, without being measured.
        figures: The figures of the runs so far.
    """

    name: str
    run: Callable[[], float]
    before: Callable[[], object] = lambda: None
    figures: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.figures)


# Seconds between two runs, in which the engine finishes the work of the run before.
_PAUSE = 0.5


class Target(NamedTuple):
    """The most that ours may take: a multiple of theirs, or seconds."""

    limit: float
    in_seconds: bool = False

    def reached(self, ours: Side, theirs: Side) -> bool:
        return (ours.median if self.in_seconds else ours.median / theirs.median) <= self.limit

    def __str__(self) -> str:
        return f"{self.limit:.2f} s" if self.in_seconds else f"{self.limit:.2f} ×"


def take_turns(sides: Sequence[Side], runs: int) -> None:
    """Measure each side `runs` times in turn, after a first run that doesn't count."""
    for number in range(runs + 1):
        for side in sides:
            side.before()
            time.sleep(_PAUSE)
            figure = side.run()
            if number:
                side.figures.append(figure)


def command(argv: Sequence[str], folder: Path, env: Mapping[str, str] | None = None) -> None:
    """Run a command. Raises RuntimeError with its output if it fails."""
    result = subprocess.run(
        argv,
        cwd=folder,
        env={**os.environ, **(env or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    if result.returncode:
        output = result.stdout.decode(errors="replace")
        raise RuntimeError(f"{' '.join(argv)} ended with {result.returncode}:\n{output}")


def seconds(argv: Sequence[str], folder: Path, env: Mapping[str, str] | None = None) -> float:
    """Run a command and return the seconds it takes."""
    started = time.perf_counter()
    command(argv, folder, env)
    return time.perf_counter() - started


def seconds_until(word: str, argv: Sequence[str], folder: Path, env: Mapping[str, str] | None = None) -> float:
    """Run a command to its end and return the seconds until it prints the line `word`."""
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
        times = [time.perf_counter() for line in process.stdout if line.strip() == word]
    if not times:
        raise RuntimeError(f"{' '.join(argv)} never printed {word}")
    return times[0] - started


def seconds_of_all(commands: Sequence[Sequence[str]], folder: Path, env: Mapping[str, str] | None = None) -> float:
    """Run commands in parallel and return the seconds until all have ended."""
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
