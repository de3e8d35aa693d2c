"""Identify processes across machines and PID namespaces, for records that a killed process leaves behind.

A PID alone is not enough: it is valid in one PID namespace of one machine, and the kernel uses it again later.
"""

from __future__ import annotations

import hashlib
import os
from functools import cache
from pathlib import Path
from typing import Self

from msgspec import Struct

# Fields of /proc/PID/stat, counted from the end of the name, which may hold any character.
_STATE, _BEGAN = 0, 19

# States of a process that has ended, but whose parent has not read its exit code yet.
_ENDED = ("Z", "X", "x")


class Process(Struct, frozen=True):
    """One process.

    Attributes:
        machine: A digest of the machine and the namespaces in which `pid` is valid.
        pid: The PID.
        began: When it started, in the kernel's clock ticks; "" if that is unknown.
    """

    machine: str
    pid: int
    began: str

    def __str__(self) -> str:
        return f"{self.machine}-{self.pid}-{self.began}"

    @classmethod
    def named(cls, text: str) -> Self | None:
        """Parse `str(process)`; None if `text` is something else."""
        machine, _, rest = text.partition("-")
        pid, _, began = rest.partition("-")
        is_one = machine and pid.isascii() and pid.isdigit()
        return cls(machine, int(pid), began) if is_one else None

    @property
    def is_near(self) -> bool:
        """Return whether `runs` can answer: the process is on this machine, in this PID namespace."""
        return self.machine == _machine()

    @property
    def runs(self) -> bool:
        """Return whether the process, which `is_near`, is still running."""
        try:
            os.kill(self.pid, 0)
        except (ProcessLookupError, OverflowError):
            return False
        except PermissionError:
            pass  # it runs as another user
        state, began = _stat(str(self.pid)) if _knows_us() else ("", "")
        return state not in _ENDED and (not began or not self.began or began == self.began)


def current() -> Process:
    """Return the calling process."""
    pid = os.getpid()
    return Process(_machine(), pid, _stat(str(pid))[1] if _knows_us() else "")


@cache
def _machine() -> str:
    """Return a digest that two processes share only if each finds the other by its PID.

    The name of the host tells apart virtual machines that were copied while they ran.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        # A time namespace shifts the start times of processes. Older kernels have none.
        paths = (Path("/proc/self/ns", kind) for kind in ("pid", "time"))
        spaces = [str(path.readlink()) for path in paths if path.exists()]
    except OSError:
        return os.urandom(6).hex()  # equal to no other process
    return hashlib.sha256(" ".join([boot, *spaces, os.uname().nodename]).encode()).hexdigest()[:12]


@cache
def _knows_us() -> bool:
    """Return whether /proc shows the PID namespace of this process."""
    try:
        return str(Path("/proc/self").readlink()) == str(os.getpid())
    except OSError:
        return False


def _stat(pid: str) -> tuple[str, str]:
    """Return the state and the start time of a process, "" for what is unknown."""
    try:
        words = Path("/proc", pid, "stat").read_bytes().rpartition(b")")[2].decode().split()
        return words[_STATE], words[_BEGAN]
    except (OSError, IndexError):
        return "", ""
