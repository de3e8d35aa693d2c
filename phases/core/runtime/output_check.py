"""Decides whether the output of a habitat's container may be shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phases.core.errors import HabitatError
from phases.core.secrets.fingerprints import OutputCheck

if TYPE_CHECKING:
    from collections.abc import Iterable

    from phases.core.engine.types import Container
    from phases.core.model import Value
    from phases.core.project import Project


def output_check(
    project: Project, name: str, container: Container, values: Iterable[Value] | None = None
) -> OutputCheck:
    """Return what decides whether the output of a habitat's container may be shown.

    Args:
        project: The project.
        name: The name of the habitat.
        container: The container.
        values: The secrets that the container was given, if they are known already.
    """
    try:
        secrets = [secret for secret in project.habitat(name).secrets if secret.start]
    except HabitatError:
        return OutputCheck(project.state_folder(name), container, None, project.vault, values)
    return OutputCheck(project.state_folder(name), container, secrets, project.vault, values)
