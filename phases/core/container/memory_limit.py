"""Tells whether a command failed because a process was killed at its container's memory limit."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from phases.core.container import root_environment
from phases.core.errors import EngineError
from phases.core.files.shell_program import ShellProgram

if TYPE_CHECKING:
    from phases.core.engine.protocol import Engine

_KILLS = ShellProgram(__file__, "memory_kills.sh")

_UNITS = ((1 << 30, "g"), (1 << 20, "m"), (1 << 10, "k"))


def report(engine: Engine, container: str, key: str, limit: int, before: int = 0) -> str:
    """Return a sentence that names the limit, "" if no further process was killed at it.

    Args:
        engine: The engine.
        container: The container, which runs.
        key: The key of the limit in the config.
        limit: The limit in bytes, 0 for none. Then nothing is asked.
        before: How many were killed before, of all since the container started.
    """
    return message(key, limit) if limit and kills(engine, container) > before else ""


def kills(engine: Engine, container: str) -> int:
    """Return how many processes were killed at the limit since the container started, 0 if it can't say."""
    try:
        code, output = root_environment.run(engine, container, _KILLS.text)
    except EngineError:  # it has ended
        return 0
    return int(output) if code == 0 and re.fullmatch(r"[0-9]+", output) else 0


class KillCounter:
    """Tells whether a process was killed at the memory limit while a command ran.

    The kernel counts since the container started, and several commands run in one container.

    Args:
        engine: The engine.
        key: The key of the limit in the config.
        limit: The limit in bytes, 0 for none. Then nothing is asked.
    """

    def __init__(self, engine: Engine, key: str, limit: int) -> None:
        self._engine = engine
        self._key = key
        self._limit = limit
        self._container = ""
        self._before = 0

    def begin(self, container: str, *, is_new: bool) -> None:
        """Count before a command. is_new: whether the container was started for it."""
        self._container = container
        self._before = kills(self._engine, container) if self._limit and not is_new else 0

    def report(self) -> str:
        """Return a sentence that names the limit, "" if no process was killed at it since the command began."""
        return report(self._engine, self._container, self._key, self._limit, self._before)


def message(key: str, limit: int) -> str:
    """Return the sentence that names the limit at which a process was killed."""
    return f"a process was killed at the memory limit, {key}: {_shown(limit)}"


def _shown(size: int) -> str:
    """Return a size in the largest unit that gives a whole number, as the config has it."""
    return next((f"{size // unit}{name}" for unit, name in _UNITS if size % unit == 0), str(size))
