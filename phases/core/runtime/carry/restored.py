"""The record of containers that a person made the habitat's again: no newer image replaces these.

It is a file in the habitat's state folder with their ids, since labels of a container can't be changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from phases.core.files import atomic, safe_open

if TYPE_CHECKING:
    from phases.core.engine.types import Container
    from phases.core.project import Project

#: The name of the file.
RECORD = "restored"

# Bytes of the file, and ids that are kept in it.
_MAX_BYTES, _MOST = 10_000, 50


def is_restored(project: Project, name: str, container: Container) -> bool:
    """Return whether a person made a container the habitat's again."""
    return container.id in _ids(project, name)


def image_for(project: Project, name: str, container: Container, image: str) -> str:
    """Return the id of the image that a container is to have: its own if it was restored, else `image`."""
    return container.image if is_restored(project, name, container) else image


def follow(project: Project, name: str, old: Container, new: Container) -> None:
    """Record a container with the files of one that was restored. Raises StateError."""
    if is_restored(project, name, old):
        note(project, name, new.id)


def note(project: Project, name: str, container: str) -> None:
    """Record that a person made a container the habitat's again. container: its id. Raises StateError."""
    ids = [*_ids(project, name), container][-_MOST:]
    atomic.write_if_changed(project.state_folder(name) / RECORD, "".join(f"{one}\n" for one in ids).encode())


def _ids(project: Project, name: str) -> list[str]:
    try:
        data = safe_open.read(project.state_folder(name) / RECORD, _MAX_BYTES) or b""
    except OSError:
        return []
    return data.decode(errors="replace").split()
