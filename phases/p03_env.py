"""Phase 3, env: the environment that every later command sees, login shells included.

USER, WORKDIR and the habitat's own paths are set by the phases they belong to, so that moving the
workdir doesn't begin here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from phases.protocol import PHASE_VARIABLES, ChangeDescription, SetImageConfig, dotted, own_env

if TYPE_CHECKING:
    from phases.core.json_types import Json
    from phases.core.model import Habitat
    from phases.protocol import SlicePath, Step

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
    return ChangeDescription(dotted(*changed.key))


def plan(habitat: Habitat) -> list[Step]:
    return [SetImageConfig(env=own_env(habitat, *_names(habitat)))]
