"""Phase 10, verify: every required path must exist. Looks only; nothing runs, nothing is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phases.protocol import Require, Written, dotted

if TYPE_CHECKING:
    from phases.core.model import Habitat
    from phases.protocol import Json, Spot, Step

ID = 10
NAME = "verify"
TITLE = "Verifying the filesystem"
DESCRIPTION = "Verify filesystem and permissions"
SNAPSHOT = False


def slice(habitat: Habitat) -> Json:
    return {"required": [path for path, _ in habitat.required]}


def written(spot: Spot) -> Written:
    return Written(dotted("verify-fs.required_files", *spot.key[1:]))


def plan(habitat: Habitat) -> list[Step]:
    if not habitat.required:
        return []
    return [Require(habitat.required, hint="make them in setup, files or repos, or take them off the list")]
