"""Phase 7, setup: run the setup commands, as root or as a user, as each says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phases.protocol import Run

if TYPE_CHECKING:
    from phases.core.model import Habitat
    from phases.protocol import Json, Step

ID = 7
NAME = "setup"
TITLE = "Running setup commands"
DESCRIPTION = "Install packages and run setup commands"
SNAPSHOT = True


def slice(habitat: Habitat) -> Json:
    return {"commands": [{"script": command.script, "user": command.user} for command in habitat.setup]}


def plan(habitat: Habitat) -> list[Step]:
    return [
        Run(command.user, command.script, command.origin, f"setup command {number} of {len(habitat.setup)}")
        for number, command in enumerate(habitat.setup, start=1)
    ]
