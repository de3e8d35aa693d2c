"""Gives a container its secrets back that was stopped for a new one, which then failed.

A tmpfs is empty after a restart. A server in the container still needs its secrets, and no session delivers them.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from phases.core.errors import HabitatError
from phases.core.secrets import delivery, fingerprints

if TYPE_CHECKING:
    from phases.core.engine.types import Container
    from phases.core.model import Value
    from phases.core.project import Project


def remember(project: Project, container: Container) -> None:
    """Read the secrets of a running container that is about to be stopped."""
    project.vault.of_stopped[container.id] = delivery.read(project.engine, container.id)


def give_back(project: Project, name: str, container: Container) -> None:
    """Write the secrets of a container again, now that it runs again.

    If another process stopped it, which was killed, these are the secrets of this host.

    Raises:
        HabitatError: They can't be written.
    """
    values = project.vault.of_stopped.pop(container.id, None)
    if values is None:
        values = _of_host(project, name, container)
    habitat = project.habitat(name)
    for owner, value in values:
        fingerprints.note(project.state_folder(name), container, [value])
        delivery.deliver(project.engine, container.id, [value], owner, habitat)


def _of_host(project: Project, name: str, container: Container) -> list[tuple[str, Value]]:
    """Return the secrets for a start that this host has, with the user of the container's image as their owner."""
    habitat = project.habitat(name)
    image = project.engine.image_config(container.image)
    owner = (image.user if image else "") or habitat.user
    values: list[Value] = []
    for secret in habitat.secrets:
        if secret.start:
            with suppress(HabitatError):  # this host has it no longer, or the person has not agreed to its command
                values += project.vault.values([secret])
    return [(owner, value) for value in values]
