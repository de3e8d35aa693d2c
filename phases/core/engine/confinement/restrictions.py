"""The restrictions that a container is created with."""

from __future__ import annotations

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
