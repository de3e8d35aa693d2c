"""Returns the notes of `plan` and `status` about workspaces, without a look into them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phases.core import command_form
from phases.core.config.mounts import workspaces
from phases.core.errors import printable
from phases.core.runtime.persistence.volumes import LABEL_WORKSPACE, persistent
from phases.core.runtime.workspace import record

if TYPE_CHECKING:
    from collections.abc import Iterable

    from phases.core.engine.types import Volume
    from phases.core.project import Project


def notes(project: Project, name: str, volumes: Iterable[Volume] = ()) -> list[str]:
    """Return which repositories don't follow the image, as the last start found, and which workspaces are left.

    Args:
        project: The project.
        name: The name of a habitat whose config has no error.
        volumes: The volumes of the engine with LABEL_WORKSPACE.
    """
    texts = [drift.text for drift in record.read(project.state_folder(name)).drift.values()]
    candidates = workspaces.candidates(project.habitat(name))
    destroy = command_form.verb("destroy", name, "--workspace")
    for volume in persistent(volumes, project.names.of(name)):
        path = volume.labels[LABEL_WORKSPACE]
        if path not in candidates and not project.identity.is_foreign(volume.labels):
            text = f"{path} is no workspace by the config: the one that was there is kept, as {volume.name}"
            texts.append(f"{text}, until `{destroy}`")
    return [printable(text) for text in texts]
