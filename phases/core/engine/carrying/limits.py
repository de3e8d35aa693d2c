"""The limits of a container that some engines can change."""

from __future__ import annotations

from typing import Self

from msgspec import Struct


class ContainerLimits(Struct, frozen=True):
    """The limits of a container, each 0 if it has none.

    memory: bytes. cpus: billionths of a CPU. pids: processes and threads.
    """

    memory: int
    cpus: int
    pids: int

    def can_become(self, other: Self) -> bool:
        """Return whether an engine can change these: a limit of memory or CPUs can't be taken away."""
        return not ((self.memory and not other.memory) or (self.cpus and not other.cpus))
