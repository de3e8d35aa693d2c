"""How much of the engine's disk the layers of images use.

The engine's own report (`/system/df`) counts a layer as shared if two images of one habitat have it, and takes
longer: docs/decisions/disk-usage.md. The list of images is enough: an image adds to its parent the difference of
their sizes. Only the layers of an image without a known parent need another request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from phases.core.cache import image_labels
from phases.core.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from phases.core.engine.protocol import Engine
    from phases.core.engine.types import Image

#: The owner of images that are no habitat's.
NOBODY = ""

_REPOSITORY = image_labels.repository("")


class Disk:
    """The images of an engine at the time of creation.

    Makes one request, and later one for each image without a parent whose layers are needed.

    Args:
        engine: The engine.
        listed: The result of `Engine.images`.
    """

    def __init__(self, engine: Engine, listed: Iterable[Image]) -> None:
        self._engine = engine
        self._stored = {image.id: image for image in engine.stored()}
        # Without images that were removed between the two requests.
        self._listed = {image.id: image for image in listed if image.id in self._stored}
        self._layers: dict[str, tuple[str, ...]] = {}
        self._sizes: dict[str, int] = {}

    def created(self, image: str) -> datetime | None:
        return self._stored[image].created if image in self._stored else None

    def owners(self, also: Iterable[str] = ()) -> dict[str, set[str]]:
        """Find out which habitats use a layer.

        Args:
            also: Ids of images to include. Images of habitats, those below and those above them are included anyway.

        Returns:
            Each layer with the habitats that use it, and NOBODY if images of no habitat do.
        """
        images = {image.id: _owners(image) for image in self._listed.values()}
        reached = {below for image, of in images.items() if of != {NOBODY} for below in self._lineage(image)}
        wanted = {image for image in images if not reached.isdisjoint(self._lineage(image))}
        owners: dict[str, set[str]] = {}
        for image in sorted({*wanted, *also} & images.keys()):
            for layer in self._layers_of(image):
                owners.setdefault(layer, set()).update(images[image])
        return owners

    def size(self, layers: Iterable[str]) -> int:
        """Return the bytes of layers that `owners` returned."""
        return sum(self._sizes[layer] for layer in layers)

    def _layers_of(self, image: str) -> tuple[str, ...]:
        """Return all layers of an image, and remember their sizes."""
        below: tuple[str, ...] = ()
        for step in reversed(self._lineage(image)):
            if step not in self._layers:
                added = self._added(step, is_lowest=not below)
                self._sizes.update(added)
                self._layers[step] = (*below, *added)
            below = self._layers[step]
        return below

    def _added(self, image: str, *, is_lowest: bool) -> dict[str, int]:
        if is_lowest:
            try:
                return {layer.id: layer.size for layer in self._engine.layers(image)}
            except NotFound:  # another run has removed it
                return {}
        return {image: max(0, self._stored[image].size - self._stored[self._parent(image)].size)}

    def _lineage(self, image: str) -> list[str]:
        """Return an image, its parent and so on, as far as the engine has them."""
        images = [image]
        while (parent := self._parent(images[-1])) in self._stored and parent not in images:
            images.append(parent)
        return images

    def _parent(self, image: str) -> str:
        """Return the id of an image's parent, "" if the engine doesn't know it."""
        return self._stored[image].parent


def _owners(image: Image) -> set[str]:
    """Return the habitats that an image belongs to, NOBODY for none.

    Tags decide, not labels: an image that a person made from a snapshot has the snapshot's labels.
    """
    if not image.tags:
        return {image.labels.get(image_labels.LABEL_NAME, NOBODY)}
    names = {tag.removeprefix(_REPOSITORY).rpartition(":")[0] for tag in image.tags if tag.startswith(_REPOSITORY)}
    return names or {NOBODY}
