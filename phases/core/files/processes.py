"""Which process is meant: for what a process may leave behind when it is killed, where others find it.

A number says that only within a PID namespace of a machine, and only as long as nobody else is given it.
"""

from __future__ import annotations

import hashlib
import os
from functools import cache
from pathlib import Path
from typing import Self

from msgspec import Struct

# Of /proc/PID/stat, counted behind the name, which may hold anything.
_STATE, _BEGAN = 0, 19

# States of a process that has ended: its parent hasn't asked how, or is about to.
_ENDED = ("Z", "X", "x")


class Process(Struct, frozen=True):
    """machine: a digest of where its number means it; began: when, as its kernel counts, "" where that isn't told."""

    machine: str
    pid: int
    began: str

    def __str__(self) -> str:
        return f"{self.machine}-{self.pid}-{self.began}"

    @classmethod
    def named(cls, text: str) -> Self | None:
        """The process that was written down as `text`; None where that is no process."""
        machine, _, rest = text.partition("-")
        pid, _, began = rest.partition("-")
        is_one = machine and pid.isascii() and pid.isdigit()
        return cls(machine, int(pid), began) if is_one else None

    @property
    def is_near(self) -> bool:
        """Whether it can be told here if it runs."""
        return self.machine == _machine()

    @property
    def runs(self) -> bool:
        """Of one that is near."""
        try:
            os.kill(self.pid, 0)
        except (ProcessLookupError, OverflowError):
            return False
        except PermissionError:
            pass  # somebody else's
        state, began = _stat(str(self.pid)) if _knows_us() else ("", "")
        return state not in _ENDED and (not began or not self.began or began == self.began)


def current() -> Process:
    """The one that asks."""
    pid = os.getpid()
    return Process(_machine(), pid, _stat(str(pid))[1] if _knows_us() else "")


@cache
def _machine() -> str:
    """Equal for two processes only where each finds the other by its number. The name of the host tells virtual
    machines apart that were copied while they ran.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        # Older kernels have no namespaces of time, by which they would count otherwise.
        paths = (Path("/proc/self/ns", kind) for kind in ("pid", "time"))
        spaces = [str(path.readlink()) for path in paths if path.exists()]
    except OSError:
        return os.urandom(6).hex()  # nobody is near
    return hashlib.sha256(" ".join([boot, *spaces, os.uname().nodename]).encode()).hexdigest()[:12]


@cache
def _knows_us() -> bool:
    """Whether /proc is of the namespace that this process is in."""
    try:
        return str(Path("/proc/self").readlink()) == str(os.getpid())
    except OSError:
        return False


def _stat(pid: str) -> tuple[str, str]:
    """The state of a process, and when it began; "" for what isn't told."""
    try:
        words = Path("/proc", pid, "stat").read_bytes().rpartition(b")")[2].decode().split()
        return words[_STATE], words[_BEGAN]
    except (OSError, IndexError):
        return "", ""
