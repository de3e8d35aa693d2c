"""Images in Podman."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypeVar

from msgspec.structs import replace

from phases.core.engine.docker_api.api import path, refusal
from phases.core.engine.docker_api.images import DockerImages
from phases.core.errors import EngineError, NotFound

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from phases.core.engine.output import OnLine
    from phases.core.engine.types import Image, ImageSize
    from phases.core.files.tar import DockerfileArchive
    from phases.core.model import Value

#: The version of Podman's own API. Podman 5 answers this version as well.
LIBPOD_VERSION = "4.0.0/libpod"

#: What stands between the comment of a commit and the id of the image that its container was made from.
ON_IMAGE = " on sha256:"

# What Podman puts before a tag, and Docker doesn't.
_REGISTRIES = ("localhost/", "docker.io/library/")

# The messages that Podman answers with 500, and Docker with a status of its own.
_STATUSES = {
    404: re.compile("no such container|layer not known|image not known"),
    409: re.compile('container name ".*" is already in use|container state improper'),
}


# How often a list of images is asked for, while others remove images.
_MOST_LISTINGS = 5

_Listed = TypeVar("_Listed")


def listed(ask: Callable[[], _Listed]) -> _Listed:
    """Return a list of images. Podman refuses it if an image of it is removed meanwhile; then this asks again."""
    for _ in range(_MOST_LISTINGS - 1):
        try:
            return ask()
        except EngineError as error:
            if "image not known" not in error.message:
                raise
    return ask()


class PodmanImages(DockerImages):
    """The methods of the engine protocol that are about images, where Podman differs."""

    def _refusal(self, action: str, status: int, reason: str) -> EngineError:
        return podman_refusal(action, status, reason)

    def images(self) -> list[Image]:
        return [replace(image, tags=tuple(map(_docker_tag, image.tags))) for image in listed(super().images)]

    def stored(self) -> list[ImageSize]:
        return [replace(image, parent=image_id(image.parent)) for image in listed(super().stored)]

    def _inspect_image(self, image: str) -> Any:
        """Inspect an image. One that was committed without a comment shows the comment of the image below it.

        A comment is therefore kept only if it names the image that this one was made from (see `PodmanContainers`).
        """
        row = super()._inspect_image(image)
        comment, _, parent = (row.get("Comment") or "").rpartition(ON_IMAGE)
        return row | {"Comment": comment if parent == row.get("Parent") else ""}

    def untag(self, reference: str) -> None:
        """Remove a tag.

        With the last tag Podman would remove an image that others rest on, and it would keep the tag of one in use.
        """
        try:
            image = self._inspect_image(reference)
        except NotFound:
            return
        tags = image.get("RepoTags") or ()
        matching = [tag for tag in tags if _docker_tag(tag) == reference]
        for tag in matching:
            repository, _, name = tag.rpartition(":")
            url = path("/images/{}/untag", image["Id"], repo=repository, tag=name)
            self._request(f"removing {reference}", "POST", url, version=LIBPOD_VERSION)
        if len(matching) == len(tags):
            self.remove_image(image["Id"])

    def remove_image(self, image: str) -> bool:
        """Remove an image. Podman would remove one that others rest on."""
        return not any(one.parent == image for one in self.stored()) and super().remove_image(image)

    def build(self, context: DockerfileArchive, tag: str, on_line: OnLine, secrets: Sequence[Value] = ()) -> str:
        """Build a Dockerfile. Podman has no BuildKit, so a secret could be given to a build only in its context."""
        if secrets:
            raise EngineError("Podman's API gives no secrets to a Dockerfile: name other phases in their `phases:`")
        return image_id(self._build(context, tag, on_line))


def podman_refusal(action: str, status: int, reason: str) -> EngineError:
    """Return the error for a request that Podman refused with `status`."""
    statuses = (code for code, message in _STATUSES.items() if status == 500 and message.search(reason))
    return refusal(action, next(statuses, status), reason)


def image_id(image: str) -> str:
    """Return an image's id as Docker writes it, "" for none."""
    return f"sha256:{image.removeprefix('sha256:')}" if image else ""


def _docker_tag(tag: str) -> str:
    """Return a tag as Docker lists it."""
    return next((tag.removeprefix(start) for start in _REGISTRIES if tag.startswith(start)), tag)
