"""The engine protocol over the API that Podman offers in Docker's words, as of Podman 4.3.

The program talks to Podman as to Docker. Each overridden method corrects one difference, so that callers see what
Docker would do. Requests that Docker's API doesn't have go to Podman's own, with the version `LIBPOD_VERSION`.
"""

from __future__ import annotations

from phases.core.engine.docker_api.client import DockerEngine
from phases.core.engine.podman_api.archives import PodmanArchives
from phases.core.engine.podman_api.carrying import PodmanCarrying
from phases.core.engine.podman_api.containers import PodmanContainers
from phases.core.engine.podman_api.execs import PodmanExecs
from phases.core.engine.podman_api.images import PodmanImages


class Podman(PodmanImages, PodmanContainers, PodmanCarrying, PodmanExecs, PodmanArchives, DockerEngine):
    """Podman, with what Docker would do (see `protocol.Engine`)."""

    #: The limit of its store.
    max_layers = 500
