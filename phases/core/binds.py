"""The volumes of a habitat as the engine mounts them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phases.core.engine import Bind
from phases.registry import mounts_volumes

if TYPE_CHECKING:
    from phases.core.model import Habitat
    from phases.protocol import Phase


def binds_of(habitat: Habitat) -> tuple[Bind, ...]:
    """Those that this host has."""
    return tuple(Bind(str(v.source.resolve()), v.dest, v.readonly) for v in habitat.volumes if v.present)


def binds_in(habitat: Habitat, phase: Phase) -> tuple[Bind, ...]:
    """Those that are mounted while a phase is built, or in a shell at it."""
    return binds_of(habitat) if mounts_volumes(phase) else ()
