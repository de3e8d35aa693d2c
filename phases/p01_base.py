"""Phase 1, base: start from the base image, pulled if the engine doesn't have it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phases.core import json_types
from phases.core.copied_files import dockerfile_context
from phases.protocol import ChangeDescription, FromImage, RequirePaths

if TYPE_CHECKING:
    from phases.core.json_types import Json
    from phases.core.model import Habitat
    from phases.protocol import SlicePath, Step

ID = 1
NAME = "base"
TITLE = "Setting the base image"
DESCRIPTION = "Set the base image"
SNAPSHOT = True


def slice(habitat: Habitat) -> Json:
    """Include the image's id: if a tag was pulled again and is another image, the phase runs."""
    if habitat.has_dockerfile:
        return {"dockerfile": json_types.digest(dockerfile_context(habitat).identity())}
    return {"id": habitat.base_id, "image": habitat.base_image}


def describe_change(changed: SlicePath) -> ChangeDescription | None:
    if changed.key == ("dockerfile",):
        return None  # the slice of phase 0 changes with it
    if changed.key == ("image",):
        return changed.value("base_image")
    habitat = changed.habitat
    return ChangeDescription(f"base image {habitat.base_image}", "image", minor=True, origin=habitat.base_origin)


def plan(habitat: Habitat) -> list[Step]:
    shell = RequirePaths((("/bin/sh", habitat.base_origin),), hint="a habitat needs a base image with a shell")
    if habitat.has_dockerfile:
        return [shell]
    return [FromImage(habitat.base_image, habitat.base_origin), shell]
