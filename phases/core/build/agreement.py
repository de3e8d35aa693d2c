"""Asks the person to agree to what a phase does on the host."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phases.core.cache import host_mounts

if TYPE_CHECKING:
    from phases.core.model import Habitat
    from phases.core.project import Project
    from phases.protocol import Phase


def check_trust(project: Project, habitat: Habitat, phase: Phase) -> None:
    """Ask now about what a phase does on the host, before its progress is drawn. Raises Untrusted."""
    if any(secret.command for secret in habitat.secrets_of(phase.NAME)):
        project.need_trust(habitat)
    host_mounts.admit(project.need_trust, habitat, host_mounts.mounts_in(habitat, phase))
