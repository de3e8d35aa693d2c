"""All phases, in the order of a build."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phases import (
    p00_dockerfile,
    p01_base,
    p02_users,
    p03_env,
    p04_workdir,
    p05_habitat,
    p06_files,
    p07_setup,
    p08_repos,
    p09_tools,
    p10_verify,
    p11_test,
    p12_final,
)
from phases.hooks import PhaseWithHooks

if TYPE_CHECKING:
    from phases.core.model import Habitat
    from phases.protocol import Phase

_MODULES: tuple[Phase, ...] = (
    p00_dockerfile,
    p01_base,
    p02_users,
    p03_env,
    p04_workdir,
    p05_habitat,
    p06_files,
    p07_setup,
    p08_repos,
    p09_tools,
    p10_verify,
    p11_test,
    p12_final,
)

PHASES: tuple[Phase, ...] = tuple(map(PhaseWithHooks.of, _MODULES))

NAMES = tuple(phase.NAME for phase in PHASES)


def phases_of(*, has_dockerfile: bool) -> tuple[Phase, ...]:
    """Return the phases of a habitat: all, but the first only if there is a Dockerfile."""
    return PHASES if has_dockerfile else PHASES[1:]


def named(name: str) -> Phase:
    """Return the phase with a name of NAMES."""
    return PHASES[NAMES.index(name)]


def last_snapshot(phases: tuple[Phase, ...], before: Phase) -> Phase | None:
    """Return the nearest phase before `before` that has a snapshot; None if there is none."""
    return next((phase for phase in reversed(phases[: phases.index(before)]) if phase.SNAPSHOT), None)


def mounts_volumes(phase: Phase) -> bool:
    """Return whether commands of a phase see the volumes: from phase 6 on."""
    return phase.ID >= p06_files.ID


def makes_mount_points(phase: Phase) -> bool:
    """Return whether a phase makes the mount points of the volumes: the first one whose commands see them."""
    return phase.ID == p06_files.ID


def mounts_caches(phase: Phase) -> bool:
    """Return whether commands of a phase see the caches.

    Phases that make a snapshot do. Those that only check it see what is really in it.
    """
    return p07_setup.ID <= phase.ID <= p09_tools.ID


def habitat_phases(habitat: Habitat) -> tuple[Phase, ...]:
    """Return the phases of a loaded habitat."""
    return phases_of(has_dockerfile=habitat.has_dockerfile)
