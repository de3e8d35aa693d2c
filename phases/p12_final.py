"""Phase 12, final: set the image's command, user and workdir. Its image also gets the tag `final`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phases.protocol import Copy, Entry, SetImageConfig

if TYPE_CHECKING:
    from phases.core.json_types import Json
    from phases.core.model import Habitat
    from phases.protocol import ChangeDescription, SlicePath, Step

ID = 12
NAME = "final"
TITLE = "Finalizing"
DESCRIPTION = "Set final configuration and command"
SNAPSHOT = True

RELEASE_FILE = "/etc/habitat-release"


def slice(habitat: Habitat) -> Json:
    """Include the init command: the image doesn't have it, but another one needs another container."""
    return {"command": habitat.entry.command, "init_command": habitat.entry.init_command}


def describe_change(changed: SlicePath) -> ChangeDescription:
    return changed.value("entry", *changed.key)


def plan(habitat: Habitat) -> list[Step]:
    """Remove the entrypoint of the base image, which would run before the habitat's own command."""
    release = f"HABITAT={habitat.name}\nPHASES={ID}\n".encode()
    command = ("/bin/sh", "-c", "--", habitat.entry.command) if habitat.entry.command else ("/bin/sh",)
    return [
        Copy((Entry(RELEASE_FILE, "file", "root", 0o644, habitat.base_origin, content=release),)),
        SetImageConfig(user=habitat.user, workdir=habitat.workdir, entrypoint=(), command=command),
    ]
