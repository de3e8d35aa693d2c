"""The record of which image the files of a habitat's workspaces come from. It is in the habitat's state folder."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from msgspec import Struct, field

from phases.core.files import atomic, safe_open

if TYPE_CHECKING:
    from pathlib import Path

    from phases.core.runtime.persistence.volumes import Workspaces

#: The name of the file.
RECORD = "workspaces"

#: In the place of an image, for a volume that is about to be filled: nobody has worked in it.
FILLING = "filling"

# Bytes of the file that are read: more than any has.
_MAX_BYTES = 1_000_000


class WorkspaceRecord(Struct):
    """The record.

    Attributes:
        images: The id of the image that the files come from, or FILLING, by the name of the volume.
    """

    images: dict[str, str] = field(default_factory=dict)


def read(folder: Path) -> WorkspaceRecord:
    """Return the record in the state folder of a habitat, an empty one if the file is gone or broken."""
    try:
        rows = json.loads(safe_open.read(folder / RECORD, _MAX_BYTES) or b"{}")
        return WorkspaceRecord({str(volume): str(image) for volume, image in rows["images"].items()})
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return WorkspaceRecord()


def is_behind(folder: Path, workspaces: Workspaces) -> bool:
    """Return whether the files of one of a container's workspaces come from another image than its own."""
    if not workspaces.entries:
        return False
    images = read(folder).images
    return any(images.get(entry.volume) != workspaces.image for entry in workspaces.entries)


def write(folder: Path, record: WorkspaceRecord) -> None:
    """Write the record. Raises StateError."""
    atomic.write_if_changed(folder / RECORD, json.dumps({"images": record.images}).encode())
