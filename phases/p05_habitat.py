"""Phase 5, habitat: create the folders for the habitat's own files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phases.entries import folder, own_env
from phases.protocol import ROOT_OWNED_PATHS, Copy, SetImageConfig

if TYPE_CHECKING:
    from phases.core.json_types import Json
    from phases.core.model import Habitat
    from phases.protocol import ChangeDescription, SlicePath, Step

ID = 5
NAME = "habitat"
TITLE = "Creating habitat directories"
DESCRIPTION = "Create the habitat's directory structure"
SNAPSHOT = True


def slice(habitat: Habitat) -> Json:
    return {"owners": {name: _owner(habitat, name) for name in habitat.paths}, "paths": habitat.paths}


def _owner(habitat: Habitat, name: str) -> str:
    """Return who owns a folder: root for ROOT_OWNED_PATHS, unless the same folder is also one of USER's."""
    path = habitat.paths[name]
    others = [other for key, other in habitat.paths.items() if key not in ROOT_OWNED_PATHS]
    return "root" if name in ROOT_OWNED_PATHS and path not in (habitat.workdir, *others) else habitat.user


def describe_change(changed: SlicePath) -> ChangeDescription | None:
    if changed.key[0] == "owners":
        return None
    return changed.variable(str(changed.key[1]))


def plan(habitat: Habitat) -> list[Step]:
    return [
        SetImageConfig(env=own_env(habitat, *habitat.paths)),
        Copy(
            tuple(folder(path, _owner(habitat, name), habitat.env.origin(name)) for name, path in habitat.paths.items())
        ),
    ]
