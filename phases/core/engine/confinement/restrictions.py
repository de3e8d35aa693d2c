"""The restrictions that a container is created with, and the limits that some engines can change."""

from __future__ import annotations

from typing import Self

from msgspec import Struct

#: The network of a container: the one that the engine gives by default, and none.
BRIDGE, NO_NETWORK = "bridge", "none"


def network_of(container: str) -> str:
    """Return the network of a container that shares that of another one. container: the other's id."""
    return f"container:{container}"


class Restrictions(Struct, frozen=True):
    """The restrictions of a container. A limit of 0 is none.

    Attributes:
        privileges: Whether its programs may gain privileges, as sudo does.
        network: BRIDGE or NO_NETWORK, the name of a network, or `network_of` another container.
        capabilities: Whether its root has the capabilities that the engine gives by default, or none.
        read_only: Whether no program can write to its own files, but for mounts.
        memory: The limit of its memory, in bytes.
        cpus: The limit of its CPUs.
        pids: The limit of its processes and threads.
        shm: The bytes of /dev/shm, 0 for the engine's default.
    """

    privileges: bool = True
    network: str = BRIDGE
    memory: int = 0
    cpus: float = 0
    pids: int = 0
    shm: int = 0
    capabilities: bool = True
    read_only: bool = False


UNCONFINED = Restrictions()


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
