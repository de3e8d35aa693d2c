"""The choice between the clients: Docker's, or Podman's for an engine that is Podman."""

from __future__ import annotations

from phases.core.engine import connect as engine_connect
from phases.core.engine.docker_api.client import DockerEngine


def connect() -> DockerEngine:
    """Connect to the engine of DOCKER_HOST, else of the current docker context, else of the default socket.

    Raises:
        EngineUnreachable: No engine answers there.
    """
    http, prefetched = engine_connect.connect()
    if http.is_podman:
        from phases.core.engine.podman_api.client import Podman

        return Podman(http, prefetched)
    return DockerEngine(http, prefetched)
