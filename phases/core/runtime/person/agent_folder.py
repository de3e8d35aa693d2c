"""The folder of the host in which sessions make sockets of the person's SSH agent, and which the container has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phases.core.cache.stamps import state_dir
from phases.core.engine.types import Bind
from phases.core.model import AGENT_FOLDER

if TYPE_CHECKING:
    from pathlib import Path

    from phases.core.model import Habitat
    from phases.core.project import Project

#: Its name in a habitat's state. It stays as long as the container does.
STATE_FOLDER = "lent-agent"

# How the address of an engine on another machine begins.
_REMOTE = ("tcp://", "http://", "https://")


def binds(project: Project, habitat: Habitat) -> tuple[Bind, ...]:
    """Return the mounts of a container by which agents can be lent to it; none if the config doesn't ask for that."""
    if not habitat.entry.ssh_agent or project.engine.address.startswith(_REMOTE):
        return ()  # an engine on another machine has no folder of this one
    source = state_dir(project.root, habitat.name).resolve() / STATE_FOLDER / "sockets"
    return (Bind(str(source), AGENT_FOLDER, readonly=True),)


def prepare(project: Project, habitat: Habitat) -> None:
    """Make the folder before a container is created or started. Raises SecretError, or Untrusted."""
    from phases.core.secrets import ssh_agent  # imported late: many habitats don't ask for it

    project.need_trust(habitat)
    try:
        ssh_agent.make_folder(folder(project, habitat))
    except OSError as error:
        raise ssh_agent.no_socket(folder(project, habitat), origin(habitat), error) from error


def folder(project: Project, habitat: Habitat) -> Path:
    """Return the folder."""
    return project.state_folder(habitat.name) / STATE_FOLDER / "sockets"


def origin(habitat: Habitat) -> str:
    """Return the line that asks for the agent, as errors name it."""
    return str(habitat.line_of(("entry", "ssh_agent")) or habitat.name)
