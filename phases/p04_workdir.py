"""Phase 4, workdir: the folder the agent starts in, its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phases.protocol import Configure, Put, Written, dotted, folder, own_env

if TYPE_CHECKING:
    from phases.core.model import Habitat
    from phases.protocol import Json, Spot, Step

ID = 4
NAME = "workdir"
TITLE = "Creating the work directory"
DESCRIPTION = "Create the project's work directory"
SNAPSHOT = True


def slice(habitat: Habitat) -> Json:
    return {"workdir": habitat.workdir}


def written(spot: Spot) -> Written:
    return Written(dotted("env", str(spot.key[0]).upper()))


def plan(habitat: Habitat) -> list[Step]:
    steps: list[Step] = [Configure(env=own_env(habitat, "WORKDIR"), workdir=habitat.workdir)]
    if habitat.workdir != "/":
        steps.append(Put((folder(habitat.workdir, habitat.user, habitat.env.origin("WORKDIR")),)))
    return steps
