"""Phase 7, setup: run the setup commands, each as root or as the user that it names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phases.core.json_types import dotted
from phases.protocol import ChangeDescription, Run, secrets_slice

if TYPE_CHECKING:
    from phases.core.json_types import Json
    from phases.core.model import Habitat
    from phases.core.origin import Origin
    from phases.protocol import SlicePath, Step

ID = 7
NAME = "setup"
TITLE = "Running setup commands"
DESCRIPTION = "Install packages and run setup commands"
SNAPSHOT = True


def slice(habitat: Habitat) -> Json:
    commands = [{"script": command.script, "user": command.user} for command in habitat.setup]
    return {"commands": commands, **_caches(habitat), **secrets_slice(habitat, NAME)}


def _caches(habitat: Habitat) -> Json:
    """Return the part of the slice about caches: their paths, since no image has the files below them.

    Their content, and who shares them, must not change what a command builds.
    """
    return {"caches": sorted(cache.path for cache in habitat.caches)} if habitat.caches else {}


def describe_change(changed: SlicePath) -> ChangeDescription:
    """Return a name such as `setup.user[1]`, which counts the commands of each user separately."""
    if changed.key[0] == "caches":
        return ChangeDescription("caches", origin=_origin_of_cache(changed))
    _, number, *field = changed.key
    users = [command["user"] for command in changed.slice["commands"][: int(number) + 1]]
    who = "user" if users[-1] == changed.habitat.user != "root" else users[-1]
    run_as = ["run_as"] if field == ["user"] else []
    origin = changed.habitat.setup[int(number)].origin if changed.is_todays else None
    return ChangeDescription(dotted("setup", who, users.count(users[-1]) - 1, *run_as), origin=origin)


def _origin_of_cache(changed: SlicePath) -> Origin | None:
    path = changed.slice["caches"][int(changed.key[1])]
    return next((cache.origin for cache in changed.habitat.caches if cache.path == path), None)


def plan(habitat: Habitat) -> list[Step]:
    return [
        Run(command.user, command.script, command.origin, f"setup command {number} of {len(habitat.setup)}")
        for number, command in enumerate(habitat.setup, start=1)
    ]
