"""Phase 4, workdir: create WORKDIR, where the agent starts. It belongs to USER."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phases.entries import folder, own_env
from phases.protocol import Copy, SetImageConfig

if TYPE_CHECKING:
    from phases.core.json_types import Json
    from phases.core.model import Habitat
    from phases.protocol import ChangeDescription, SlicePath, Step

ID = 4
NAME = "workdir"
TITLE = "Creating the work directory"
DESCRIPTION = "Create the project's work directory"
SNAPSHOT = True


def slice(habitat: Habitat) -> Json:
    return {"workdir": habitat.workdir}


def describe_change(changed: SlicePath) -> ChangeDescription:
    return changed.variable("WORKDIR")


def plan(habitat: Habitat) -> list[Step]:
    steps: list[Step] = [SetImageConfig(env=own_env(habitat, "WORKDIR"), workdir=habitat.workdir)]
    if habitat.workdir != "/":
        steps.append(Copy((folder(habitat.workdir, habitat.user, habitat.env.origin("WORKDIR")),)))
    return steps
