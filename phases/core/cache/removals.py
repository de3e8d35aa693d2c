"""Removes images in the background, since an engine takes seconds to remove their layers.

The engine removes an image with its last tag, and a phase may only be published once the tags of later phases are
gone. So such an image first gets a tag that stands for nothing, which is removed in the background. The next run that
builds the habitat removes what a killed run has left.
"""

from __future__ import annotations

from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING

from phases.core.cache import image_labels
from phases.core.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from phases.core.engine.protocol import Engine
    from phases.core.engine.types import Image


class ImageRemovals:
    """Removes images of habitats.

    Args:
        engine: The engine.
        later: Calls a function in the background, after those before.
    """

    def __init__(self, engine: Engine, later: Callable[[Callable[[], None]], None]) -> None:
        self._engine = engine
        self._later = later

    def remove(self, image: str) -> None:
        """Remove an image that has no tag, unless something uses it."""

        def remove() -> None:
            self._engine.remove_image(image)

        self._later(remove)

    @contextmanager
    def of_untagged(self, name: str, images: Iterable[str]) -> Iterator[None]:
        """Let the caller remove the last tags of images at once, and remove the images later.

        Args:
            name: The habitat.
            images: Their ids.
        """
        tags = {image_labels.removed_tag(name, image): image for image in images}
        for tag, image in tags.items():
            with suppress(NotFound):  # another run has removed it
                self._engine.tag(image, tag)
        yield
        self._untag(tags)

    def are_left(self, name: str, images: Iterable[Image]) -> bool:
        """Return whether a killed run has left images to be removed. images: all of the engine."""
        return bool(_tags_left(name, images))

    def resume(self, name: str, images: Iterable[Image]) -> None:
        """Remove the images of a habitat that a killed run has not removed. images: all of the engine."""
        self._untag(_tags_left(name, images))

    def _untag(self, tags: Iterable[str]) -> None:
        for tag in tags:
            self._later(partial(self._engine.untag, tag))


def _tags_left(name: str, images: Iterable[Image]) -> list[str]:
    prefix = f"{image_labels.repository(name)}:{image_labels.REMOVED}"
    return [tag for image in images for tag in image.tags if tag.startswith(prefix)]
