"""Other settings for a container that exists, in Podman."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from phases.core.engine.docker_api.carrying import DockerCarrying
from phases.core.engine.podman_api.images import ON_IMAGE
from phases.core.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from phases.core.engine.confinement.restrictions import ContainerLimits


class PodmanCarrying(DockerCarrying):
    """The methods of `carrying.protocol`, where Podman differs."""

    def set_limits(self, container: str, limits: ContainerLimits) -> bool:
        """Return False. Podman 4 has no such request, and Podman reports limits that it did not get."""
        del container, limits
        return False

    def _with_config(self, image: str, config: Mapping[str, Any], comment: str) -> str:
        """Raise EngineError: Podman takes no image without its layers."""
        del image, config, comment
        raise EngineError("loading an image: Podman needs its layers")

    def _layers_to_save(self, layers: Sequence[str], below: int) -> Sequence[str]:
        del below
        return layers

    def _written_comment(self, comment: str) -> str:
        """Return a comment for the image's history, where Podman looks for it. It names no parent, as `commit` does."""
        return f"{comment}{ON_IMAGE}"
