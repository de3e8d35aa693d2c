"""Phase 10, verify: check that every required path exists. Runs no command and leaves no snapshot."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phases.protocol import RequirePaths

if TYPE_CHECKING:
    from phases.core.json_types import Json
    from phases.core.model import Habitat
    from phases.protocol import ChangeDescription, SlicePath, Step

ID = 10
NAME = "verify"
TITLE = "Verifying the filesystem"
DESCRIPTION = "Verify filesystem and permissions"
SNAPSHOT = False


def slice(habitat: Habitat) -> Json:
    return {"required": [path for path, _ in habitat.required]}


def describe_change(changed: SlicePath) -> ChangeDescription:
    return changed.value("verify-fs", "required_files", *changed.key[1:])


def plan(habitat: Habitat) -> list[Step]:
    if not habitat.required:
        return []
    return [RequirePaths(habitat.required, hint="add them in setup, files or repos, or take them off the list")]
