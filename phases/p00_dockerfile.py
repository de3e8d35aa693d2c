"""Phase 0, dockerfile: build habitats/NAME/Dockerfile, or the file that `dockerfile:` names.

A habitat without a Dockerfile doesn't have this phase.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from phases.core.copied_files import dockerfile_context
from phases.entries import file_in
from phases.protocol import ChangeDescription, FromDockerfile, secrets_slice

if TYPE_CHECKING:
    from phases.core.json_types import Json
    from phases.core.model import Habitat
    from phases.protocol import SlicePath, Step

ID = 0
NAME = "dockerfile"
TITLE = "Building the Dockerfile"
DESCRIPTION = "Build the habitat's Dockerfile, where it has one"
SNAPSHOT = True


def slice(habitat: Habitat) -> Json:
    return {"context": dockerfile_context(habitat).identity(), **secrets_slice(habitat, NAME)}


def describe_change(changed: SlicePath) -> ChangeDescription:
    return file_in(changed.habitat.layer("local").shown, *map(str, changed.key[1:]))


def plan(habitat: Habitat) -> list[Step]:
    return [FromDockerfile(dockerfile_context(habitat))]
