"""The images that a Dockerfile uses, as a label of all snapshots that rest on it.

An engine moves a tag such as `debian:12` to another image when somebody pulls or builds it. Then the Dockerfile has to
be built again, as `base_image` would be set again. The label has each reference with the id that it had at the build. A
run with nothing to do compares them with the list of images, which it has anyway, and needn't read the Dockerfile.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from phases.core.cache.image_labels import LABEL_DOCKERFILE_IMAGES
from phases.core.errors import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from phases.core.cache.image_index import ImageIndex


def listed_ids(references: Iterable[str], image_index: ImageIndex) -> dict[str, str]:
    """Return the id of each image, "" for one that the engine doesn't list, such as one in BuildKit's cache."""
    return {reference: image_index.listed_id(reference) or "" for reference in references}


def label(ids: Mapping[str, str]) -> str:
    """Return the label for the images of a Dockerfile. ids: by reference, as `listed_ids` returns them."""
    return json.dumps(ids, separators=(",", ":"), sort_keys=True)


def moved(labels: Mapping[str, str], image_index: ImageIndex) -> str:
    """Return why a snapshot with these labels was built from other images than today's, "" if it wasn't.

    An image that was removed since is no reason: the snapshot has all of it.
    """
    for reference, before in _ids(labels.get(LABEL_DOCKERFILE_IMAGES) or "{}").items():
        now = image_index.listed_id(str(reference))
        if now and now != before:
            change = (
                f"moved from {_short(before)} to {_short(now)}" if before else f"{_short(now)} is new on the engine"
            )
            return printable(f"image {reference} of the Dockerfile: {change}")
    return ""


def _ids(text: str) -> dict[str, str]:
    """Return what a label has. Anybody may have written it."""
    try:
        ids = json.loads(text)
    except ValueError:
        return {}
    return ids if isinstance(ids, dict) else {}


def _short(image: object) -> str:
    return f"{str(image).removeprefix('sha256:')[:12]}…"
