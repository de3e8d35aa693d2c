"""What images take on the engine's disk, where they share layers.

The engine's own account (`/system/df`) measures its build cache and every container as well, which
takes it seconds. The list of images has all that is needed: an image made from another one adds the
difference of their sizes. Only where the engine doesn't know of a parent is it asked for layers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from phases.core.cache import image_names
from phases.core.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from phases.core.engine.protocol import Engine, Image

#: The owner of images that are no habitat's.
NOBODY = ""

_REPOSITORY = image_names.repository("")


class Disk:
    """The images of an engine as they were when this was made: two queries, and one for each of those
    at the bottom that somebody asks for. listed: what `Engine.images` gives.
    """

    def __init__(self, engine: Engine, listed: Iterable[Image]) -> None:
        self._engine = engine
        self._stored = {image.id: image for image in engine.stored()}
        # What went between the two lists is nobody's.
        self._listed = {image.id: image for image in listed if image.id in self._stored}
        self._layers: dict[str, tuple[str, ...]] = {}
        self._sizes: dict[str, int] = {}

    def created(self, image: str) -> datetime | None:
        return self._stored[image].created if image in self._stored else None

    def owners(self, also: Iterable[str] = ()) -> dict[str, set[str]]:
        """Layer to the habitats that have it, NOBODY among them where other images do. also: ids of
        images to be looked at, beside those that are at the bottom or on top of a habitat's.
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
        """Bytes of layers that `owners` has named."""
        return sum(self._sizes[layer] for layer in layers)

    def _layers_of(self, image: str) -> tuple[str, ...]:
        """All layers of an image."""
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
            except NotFound:  # somebody builds, or cleans, meanwhile
                return {}
        return {image: max(0, self._stored[image].size - self._stored[self._parent(image)].size)}

    def _lineage(self, image: str) -> list[str]:
        """An image and those it was made from, as far as the engine has them."""
        found = [image]
        while (parent := self._parent(found[-1])) in self._stored and parent not in found:
            found.append(parent)
        return found

    def _parent(self, image: str) -> str:
        """What the engine made it from, "" where it doesn't know: that is then asked for all its layers."""
        return self._stored[image].parent


def _owners(image: Image) -> set[str]:
    """The habitats whose image it is, NOBODY where it is none's. What a person has made from a snapshot has its
    labels, but a tag of his own.
    """
    if not image.tags:
        return {image.labels.get(image_names.LABEL_NAME, NOBODY)}
    ours = {tag.removeprefix(_REPOSITORY).rpartition(":")[0] for tag in image.tags if tag.startswith(_REPOSITORY)}
    return ours or {NOBODY}
