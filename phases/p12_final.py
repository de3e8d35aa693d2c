"""Phase 12, final: what the image runs, and as whom. It also gets the tag `final`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phases.protocol import ChangeDescription, Copy, Entry, SetImageConfig, dotted

if TYPE_CHECKING:
    from phases.core.json_types import Json
    from phases.core.model import Habitat
    from phases.protocol import SlicePath, Step

ID = 12
NAME = "final"
TITLE = "Finalizing"
DESCRIPTION = "Set final configuration and command"
SNAPSHOT = True

RELEASE_FILE = "/etc/habitat-release"


def slice(habitat: Habitat) -> Json:
    """The init command is not in the image, but a container that runs another one is another container."""
    return {"command": habitat.entry.command, "init_command": habitat.entry.init_command}


def describe_change(changed: SlicePath) -> ChangeDescription:
    return ChangeDescription(dotted("entry", *changed.key))


def plan(habitat: Habitat) -> list[Step]:
    """The entrypoint of the base image goes: a habitat is entered by its own command."""
    release = f"HABITAT={habitat.name}\nPHASES={ID}\n".encode()
    command = ("/bin/sh", "-c", "--", habitat.entry.command) if habitat.entry.command else ("/bin/sh",)
    return [
        Copy((Entry(RELEASE_FILE, "file", "root", 0o644, habitat.base_origin, content=release),)),
        SetImageConfig(user=habitat.user, workdir=habitat.workdir, entrypoint=(), command=command),
    ]
