"""Phase 5, habitat: the folders that hold the habitat's own files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phases.protocol import Configure, Put, Written, dotted, folder, own_env

if TYPE_CHECKING:
    from phases.core.model import Habitat
    from phases.protocol import Json, Spot, Step

ID = 5
NAME = "habitat"
TITLE = "Creating habitat directories"
DESCRIPTION = "Create the habitat's directory structure"
SNAPSHOT = True


def slice(habitat: Habitat) -> Json:
    return {"paths": habitat.paths}


def written(spot: Spot) -> Written:
    return Written(dotted("env", *spot.key[1:]))


def plan(habitat: Habitat) -> list[Step]:
    return [
        Configure(env=own_env(habitat, *habitat.paths)),
        Put(tuple(folder(path, habitat.user, habitat.env.origin(name)) for name, path in habitat.paths.items())),
    ]
