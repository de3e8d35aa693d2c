"""The images on the engine, listed once and looked up by tag or id."""

from __future__ import annotations

import threading
import time
from math import inf
from typing import TYPE_CHECKING

from msgspec.structs import replace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from phases.core.engine.types import Image, ImageConfig


class ImageIndex:
    """The engine's images. One list serves many questions, since an engine takes 0.1 ms per image to list them.

    Args:
        images: Lists the images.
        config: Returns the config of one image by any spelling of its name, None if the engine doesn't have it.
    """

    def __init__(self, images: Callable[[], list[Image]], config: Callable[[str], ImageConfig | None]) -> None:
        self._list = images
        self._config = config
        self._lock = threading.Lock()
        self._images: list[Image] | None = None
        self._listed_at = -inf
        self._needed_since = -inf  # a list from before that time is too old
        self._by_tag: dict[str, Image] = {}
        self._unlisted: dict[str, str | None] = {}

    def refresh(self) -> None:
        """Mark the list of images as too old, so that the next question lists them again.

        Calls that come while a list is being made share the one after it.
        """
        self._needed_since = time.monotonic()

    def all(self) -> list[Image]:
        """Return all images."""
        with self._lock:
            if self._images is None or self._listed_at < self._needed_since:
                listed_at = time.monotonic()
                self._images = self._list()
                self._listed_at = listed_at
                self._by_tag = {tag: image for image in self._images for tag in image.tags}
                self._unlisted = {}
            return self._images

    def add(self, image: Image) -> None:
        """Add an image that has just got the tags in `image.tags`."""
        with self._lock:
            if self._images is not None:
                self._remove_tags(image.tags)
                known = next((known for known in self._images if known.id == image.id), None)
                merged = replace(image, tags=(*known.tags, *image.tags)) if known else image
                self._images = [*(other for other in self._images if other is not known), merged]
                self._by_tag.update(dict.fromkeys(merged.tags, merged))

    def drop(self, tags: Iterable[str]) -> None:
        """Remove tags that the engine has just removed. Their images stay listed, tags or not, until the next list."""
        with self._lock:
            if self._images is not None:
                self._remove_tags(tags)

    def _remove_tags(self, tags: Iterable[str]) -> None:
        assert self._images is not None
        for tag in tags:
            if old := self._by_tag.pop(tag, None):
                left = replace(old, tags=tuple(other for other in old.tags if other != tag))
                self._images[self._images.index(old)] = left
                self._by_tag.update(dict.fromkeys(left.tags, left))

    def tagged(self, tag: str) -> Image | None:
        """Return the image with a tag, spelled as the engine lists it."""
        self.all()
        return self._by_tag.get(tag)

    def listed_id(self, reference: str) -> str | None:
        """Return the id of an image by any spelling of its name, None if the list doesn't have it."""
        self.all()
        return next((self._by_tag[name].id for name in _spellings(reference) if name in self._by_tag), None)

    def id_of(self, reference: str) -> str | None:
        """Return the id of an image by any spelling of its name, None if the engine doesn't have it."""
        if listed := self.listed_id(reference):  # this clears the answers about unlisted names if the list is too old
            return listed
        if reference not in self._unlisted:
            config = self._config(reference)
            self._unlisted[reference] = config.id if config else None
        return self._unlisted[reference]

    def labels_of(self, image_id: str) -> Mapping[str, str]:
        """Return the labels of an image, {} if the image is gone."""
        listed = next((known for known in self.all() if known.id == image_id), None)
        if listed:
            return listed.labels
        config = self._config(image_id)  # an image newer than the list, or one that the engine does not list
        return config.labels if config else {}


def _spellings(reference: str) -> list[str]:
    """Return the tags under which engines may list a name: for `debian`, docker.io/library/debian:latest and others."""
    if "@" in reference:
        return []
    full = reference if ":" in reference.rpartition("/")[2] else f"{reference}:latest"
    short = full.removeprefix("docker.io/").removeprefix("library/")
    return [short, f"docker.io/{short}", f"docker.io/library/{short}", f"localhost/{short}"]
