"""The engine protocol over Docker's HTTP API."""

from __future__ import annotations

from phases.core.engine.docker_api.archives import DockerArchives
from phases.core.engine.docker_api.carrying import DockerCarrying
from phases.core.engine.docker_api.containers import DockerLogs
from phases.core.engine.docker_api.execs import DockerExecs
from phases.core.engine.docker_api.images import DockerImages
from phases.core.engine.docker_api.volumes import DockerVolumes


class DockerEngine(DockerCarrying, DockerImages, DockerLogs, DockerExecs, DockerArchives, DockerVolumes):
    """An engine with Docker's API (see `protocol.Engine`)."""
