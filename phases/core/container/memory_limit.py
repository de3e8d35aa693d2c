"""Tells whether a command failed because a process was killed at its container's memory limit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phases.core.container import root_environment
from phases.core.errors import EngineError
from phases.core.files.shell_program import ShellProgram

if TYPE_CHECKING:
    from phases.core.engine.protocol import Engine

_KILLS = ShellProgram(__file__, "memory_kills.sh")

_UNITS = ((1 << 30, "g"), (1 << 20, "m"), (1 << 10, "k"))


def report(engine: Engine, container: str, key: str, limit: int) -> str:
    """Return a sentence that names the limit, "" if no process was killed at it since the container started.

    Args:
        engine: The engine.
        container: The container, which runs.
        key: The key of the limit in the config.
        limit: The limit in bytes, 0 for none. Then nothing is asked.
    """
    if not limit:
        return ""
    try:
        code, output = root_environment.run(engine, container, _KILLS.text)
    except EngineError:  # it has ended
        return ""
    return killed(key, limit) if code == 0 and output.strip("0") else ""


def killed(key: str, limit: int) -> str:
    """Return the sentence that names the limit at which a process was killed."""
    return f"a process was killed at the memory limit, {key}: {_shown(limit)}"


def _shown(size: int) -> str:
    """Return a size in the largest unit that gives a whole number, as the config has it."""
    return next((f"{size // unit}{name}" for unit, name in _UNITS if size % unit == 0), str(size))
