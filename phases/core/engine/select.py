"""The engine that is asked: Docker's, or Podman, which offers Docker's API."""

from __future__ import annotations

from phases.core.engine import connect as engine_connect
from phases.core.engine.client import DockerEngine


def connect() -> DockerEngine:
    """The engine of DOCKER_HOST, else of the current docker context, else of the default socket.

    Raises EngineUnreachable when none answers there.
    """
    api, asked = engine_connect.connect()
    if api.is_podmans:
        from phases.core.engine.podman import Podman

        return Podman(api, asked)
    return DockerEngine(api, asked)
