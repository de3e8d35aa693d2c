"""The record of which image the files of a habitat's workspaces come from. It is in the habitat's state folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct, field

from phases.core.cache.image_labels import repository
from phases.core.files import atomic, safe_open

if TYPE_CHECKING:
    from pathlib import Path

    from phases.core.project import Project
    from phases.core.runtime.persistence.volumes import Workspaces

#: The name of the file.
RECORD = "workspaces"

#: In the place of an image, for a volume that is about to be filled: nobody has worked in it.
FILLING = "filling"

# Bytes of the file that are read: more than any has.
_MAX_BYTES = 1_000_000


class Drift(Struct, frozen=True):
    """A repository of a workspace that doesn't have the commit of the image. user: its owner; text: the message."""

    user: str
    head: str
    branch: str
    text: str


class WorkspaceRecord(Struct):
    """The record.

    Attributes:
        images: The id of the image that the files come from, or FILLING, by the name of the volume.
        clones: The commit and the branch of the image that a repository has followed, by its path. One that has yet to
            follow for the first time has what its image had.
        drift: The repositories that don't follow the image, by their paths.
    """

    images: dict[str, str] = field(default_factory=dict)
    clones: dict[str, list[str]] = field(default_factory=dict)
    drift: dict[str, Drift] = field(default_factory=dict)


def tag(project: Project, name: str) -> str:
    """Return the tag of the image that a habitat's workspaces come from, if no container keeps that."""
    return f"{repository(project.names.of(name))}:workspace"


def helpers(project: Project, name: str) -> list[str]:
    """Return the names of the containers in which workspaces of a habitat are filled, or compared with images."""
    prefix = project.temporary_containers.prefix("start", name)
    return [f"{prefix}{purpose}" for purpose in ("fill", "follow", "before")]


def read(folder: Path) -> WorkspaceRecord:
    """Return the record in the state folder of a habitat, an empty one if the file is gone or broken."""
    try:
        return msgspec.json.decode(safe_open.read(folder / RECORD, _MAX_BYTES) or b"{}", type=WorkspaceRecord)
    except (OSError, msgspec.MsgspecError, ValueError):
        return WorkspaceRecord()


def is_behind(folder: Path, workspaces: Workspaces) -> bool:
    """Return whether the files of one of a container's workspaces come from another image than its own."""
    if not workspaces.entries:
        return False
    images = read(folder).images
    return any(images.get(entry.volume) != workspaces.image for entry in workspaces.entries)


def write(folder: Path, record: WorkspaceRecord) -> None:
    """Write the record. Raises StateError."""
    atomic.write_if_changed(folder / RECORD, msgspec.json.encode(record))
