"""Phase 3, env: set the variables that every later command sees, in login shells too.

Other phases set USER, WORKDIR and the habitat's own paths, so that a change of WORKDIR doesn't run this phase.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from phases.core.model import PHASE_VARIABLES
from phases.entries import own_env
from phases.protocol import SetImageConfig

if TYPE_CHECKING:
    from phases.core.json_types import Json
    from phases.core.model import Habitat
    from phases.protocol import ChangeDescription, SlicePath, Step

ID = 3
NAME = "env"
TITLE = "Setting environment variables"
DESCRIPTION = "Set environment variables"
SNAPSHOT = True


def _names(habitat: Habitat) -> list[str]:
    return [name for name in habitat.env.values if name not in PHASE_VARIABLES]


def slice(habitat: Habitat) -> Json:
    return {"env": {name: habitat.env.values[name] for name in _names(habitat)}}


def describe_change(changed: SlicePath) -> ChangeDescription:
    return changed.variable(str(changed.key[1]))


def plan(habitat: Habitat) -> list[Step]:
    return [SetImageConfig(env=own_env(habitat, *_names(habitat)))]
