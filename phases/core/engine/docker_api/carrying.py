"""Other settings for a container that exists: in place, or by an image with its files."""

from __future__ import annotations

import re
from typing import IO, TYPE_CHECKING, Any

from phases.core.engine.docker_api import responses
from phases.core.engine.docker_api.api import path
from phases.core.engine.docker_api.containers import DockerContainers
from phases.core.engine.docker_api.images import DockerImages
from phases.core.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from phases.core.engine.confinement.restrictions import ContainerLimits

_LOADED = re.compile(r"sha256:[0-9a-f]{64}")

_SAVING, _LOADING = "saving the layers", "loading an image"


class DockerCarrying(DockerImages, DockerContainers):
    """The methods of the engine protocol that give a container's files other settings (`carrying.protocol`)."""

    def set_limits(self, container: str, limits: ContainerLimits) -> bool:
        before = responses.container(self._inspect_container(container)).limits
        if before is None or not before.can_become(limits):
            return False  # 0 would leave a limit as it is
        body = {
            "Memory": limits.memory,
            "MemorySwap": limits.memory,
            "NanoCpus": limits.cpus,
            "PidsLimit": limits.pids or -1,
        }
        self._request("changing the limits", "POST", path("/containers/{}/update", container), body)
        return True

    def changed_bytes(self, container: str) -> int:
        url = path("/containers/{}/json", container, size=True)
        return int(self._request("measuring the container", "GET", url).get("SizeRw") or 0)

    def carry(self, container: str, like: str, labels: Mapping[str, str], comment: str) -> str:
        from phases.core.engine.docker_api import image_archives

        row, model = self._inspect_container(container), self._inspect_image(like)
        committed = self.commit(
            container, image_archives.commit_changes(row["Config"], model["Config"], labels), comment
        )
        try:
            exact = self._with_config(committed, {**model["Config"], "Labels": dict(labels)}, comment)
        except EngineError:  # an engine whose store needs the layers in the archive
            return committed
        self.remove_image(committed)
        return exact

    def _with_config(self, image: str, config: Mapping[str, Any], comment: str) -> str:
        """Return an image with the layers of another one, which the engine has, and any config."""
        from phases.core.engine.docker_api import image_archives

        row = self._inspect_image(image)
        layers = row["RootFS"]["Layers"]
        history = image_archives.history(self._history(image), len(layers))
        description = image_archives.description(row, config, comment, layers, history)
        with image_archives.written(description, layers, {}) as archive:
            return self._load(archive)

    def flatten(self, image: str, below: int, folder: Path) -> str:
        import tarfile

        from phases.core.engine.docker_api import image_archives

        row = self._inspect_image(image)
        layers = row["RootFS"]["Layers"]
        kept, others = layers[:below], layers[below:]
        merged = folder / "merged"
        try:
            with self._open(_SAVING, "GET", path("/images/{}/get", image)) as response:
                saved = image_archives.save_layers(response, self._layers_to_save(layers, below), folder)
            digest = image_archives.merge(saved, kept, others, merged)
        except tarfile.TarError as error:
            raise EngineError(f"{_SAVING}: {error}") from error
        config = self.image_config(image)
        comment = self._written_comment(config.comment if config else "")
        history = image_archives.history(self._history(image), len(layers), below, comment)
        description = image_archives.description(row, row["Config"], comment, [*kept, digest], history)
        with image_archives.written(description, [*kept, digest], {**saved.files, digest: merged}) as archive:
            return self._load(archive)

    def _layers_to_save(self, layers: Sequence[str], below: int) -> Sequence[str]:
        """Return the layers that `flatten` needs. Docker takes an image without the layers that it has."""
        return layers[below:]

    def _written_comment(self, comment: str) -> str:
        """Return a comment as it is written into an image that is loaded."""
        return comment

    def _history(self, image: str) -> Any:
        return self._request(f"looking at image {image[:19]}", "GET", path("/images/{}/history", image))

    def _load(self, archive: IO[bytes]) -> str:
        """Load an archive with one image. Return its id."""
        text = "".join(str(row.get("stream", "")) for row in self._progress(_LOADING, path("/images/load"), archive))
        image = match[0] if (match := _LOADED.search(text)) else ""
        if not image or self.image_config(image) is None:
            raise EngineError(f"{_LOADING}: the engine gave none")
        return image
