"""The engine that is asked: Docker's, or Podman, which offers Docker's API."""

from __future__ import annotations

from phases.core import reaching
from phases.core.docker_engine import DockerEngine


def connect() -> DockerEngine:
    """The engine of DOCKER_HOST, else of the current docker context, else of the default socket.

    Raises EngineUnreachable when none answers there.
    """
    api, asked = reaching.connect()
    if api.is_podmans:
        from phases.core.podman import Podman

        return Podman(api, asked)
    return DockerEngine(api, asked)
