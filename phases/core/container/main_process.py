"""The main process of a running habitat, and what the processes of its container may do and use."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

from msgspec.structs import asdict

from phases.core.container.init_process import IDLE
from phases.core.engine.confinement.restrictions import BRIDGE, NO_NETWORK, Restrictions
from phases.core.entry_settings import ALLOWLIST

if TYPE_CHECKING:
    from phases.core.model import Habitat
    from phases.core.port import Port

# A command that needs no shell.
_PLAIN_COMMAND = re.compile(r"(?!\w+=)[\w@%+=:,./ \t-]+", re.ASCII)


def main_process(habitat: Habitat) -> tuple[str, ...]:
    """Return the init command, or one that idles. A command that needs no shell becomes the main process itself."""
    text = habitat.entry.init_command.strip()
    if not text:
        return IDLE
    return tuple(shlex.split(text)) if _PLAIN_COMMAND.fullmatch(text) else ("/bin/sh", "-c", text)


def restrictions(habitat: Habitat) -> Restrictions:
    """Return the container's restrictions: no more privileges than USER's, and the limits that the config sets."""
    entry = habitat.entry
    limits = asdict(entry.limits)
    network = BRIDGE if entry.network == BRIDGE else NO_NETWORK  # an allowlist is held by the gate
    return Restrictions(privileges=False, network=network, shm=entry.shm_size, **limits)


def published_ports(habitat: Habitat) -> tuple[Port, ...]:
    """Return the ports that the container itself publishes: with an allowlist, the proxy does."""
    return () if habitat.entry.network == ALLOWLIST else habitat.entry.ports
