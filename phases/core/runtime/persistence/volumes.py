"""The persistent paths and the workspaces of a habitat, their volumes, and the labels that record them."""

from __future__ import annotations

import hashlib
import json
import posixpath
import re
from typing import TYPE_CHECKING

from msgspec import Struct

from phases.core.cache import image_labels
from phases.core.config.mounts import mountable_paths

if TYPE_CHECKING:
    from collections.abc import Iterable

    from phases.core.engine.types import Container, Volume
    from phases.core.model import Habitat
    from phases.core.project import Project

#: The label of a volume is its path as the config has it; that of a container lists all paths, and where they are.
LABEL_PERSIST = "habitat.persist"

#: The same for workspaces: WORKDIR, and each repository outside of it.
LABEL_WORKSPACE = "habitat.workspace"


class PersistentPath(Struct, frozen=True):
    """A path of `entry.persist` in a container.

    path: as the config has it. resolved: the path without links. volume: the name of its volume. shared: whether other
    habitats have that volume, too.
    """

    path: str
    resolved: str
    volume: str
    shared: bool = False

    @property
    def is_folder(self) -> bool:
        return self.path.endswith("/")

    @property
    def mount_point(self) -> str:
        return self.resolved if self.is_folder else f"{mountable_paths.OWN_FOLDER}/{self.volume}"

    @property
    def file(self) -> str:
        """The target of a single file's link, on the volume."""
        return f"{self.mount_point}/{posixpath.basename(self.resolved)}"


class Persistence(Struct, frozen=True):
    """The persistent paths in a container's label. owner: uid and gid of USER."""

    entries: tuple[PersistentPath, ...] = ()
    owner: tuple[int, int] = (0, 0)

    @property
    def paths(self) -> set[tuple[str, bool]]:
        """The paths, each with whether it is shared."""
        return {(entry.path, entry.shared) for entry in self.entries}

    @property
    def folders(self) -> list[PersistentPath]:
        return [entry for entry in self.entries if entry.is_folder]

    @property
    def files(self) -> list[PersistentPath]:
        return [entry for entry in self.entries if not entry.is_folder]

    @property
    def label(self) -> str:
        rows = [[entry.path, entry.resolved, entry.volume, *[True] * entry.shared] for entry in self.entries]
        return json.dumps({"owner": self.owner, "places": rows})


class Workspace(Struct, frozen=True):
    """A workspace in a container.

    path: as the config has it. resolved: the path without links. volume: the name of its volume.
    """

    path: str
    resolved: str
    volume: str


class Workspaces(Struct, frozen=True):
    """The workspaces in a container's label.

    candidates: the paths that might have been workspaces. entries: those that are. image: the id of the image that the
    container was made from; of the first one, if containers were committed since.
    """

    candidates: tuple[str, ...] = ()
    entries: tuple[Workspace, ...] = ()
    image: str = ""

    @property
    def label(self) -> str:
        if not self.candidates:
            return ""
        rows = [[entry.path, entry.resolved, entry.volume] for entry in self.entries]
        return json.dumps({"candidates": self.candidates, "places": rows, "image": self.image})


def workspaces_of(container: Container) -> Workspaces:
    """Return the workspaces of a container. One that an earlier version created has none."""
    if not (text := container.labels.get(LABEL_WORKSPACE)):
        return Workspaces()
    label = json.loads(text)
    entries = tuple(Workspace(*row) for row in label["places"])
    return Workspaces(tuple(label["candidates"]), entries, label["image"])


def persistence_of(container: Container) -> Persistence:
    """Return what persists of a container."""
    label = json.loads(container.labels.get(LABEL_PERSIST) or '{"places":[],"owner":[0,0]}')
    uid, gid = label["owner"]
    return Persistence(tuple(PersistentPath(*row) for row in label["places"]), (uid, gid))


def paths_of(habitat: Habitat) -> set[tuple[str, bool]]:
    """Return `Persistence.paths` for a new container of the habitat."""
    return {(persisted.path, persisted.shared) for persisted in habitat.entry.persist}


def volume_name(habitat: str, path: str) -> str:
    """Return the name of a path's volume, which is readable and unique: the digits tell equal words apart.

    habitat: its name on the engine.
    """
    return _name(habitat, path, f"{habitat}\0{path}")


def workspace_volume_name(habitat: str, path: str) -> str:
    """Return the name of a workspace's volume. habitat: its name on the engine."""
    return _name(habitat, path, f"{habitat}\0workspace\0{path}")


def shared_volume_name(person: str, path: str, owner: tuple[int, int]) -> str:
    """Return the name of a volume that all habitats of a person share whose USER has the same numbers.

    A volume of another USER's files would be of no use: programs write logins for their own user alone.
    """
    words = "-".join(re.findall(r"[a-z0-9]+", person.lower()))
    return _name(f"shared-{words}", path, f"{person}\0shared\0{path}\0{owner[0]}:{owner[1]}")


def _name(habitat: str, path: str, unique: str) -> str:
    words = "-".join(re.findall(r"[a-z0-9]+", path.lower()))[:32].strip("-")
    digits = hashlib.sha256(unique.encode()).hexdigest()[:8]
    return "-".join(filter(None, ("habitat", habitat, words, digits)))


def is_workspace(volume: Volume) -> bool:
    """Return whether a volume of a habitat is a workspace."""
    return LABEL_WORKSPACE in volume.labels


def volumes_of(project: Project, name: str) -> list[Volume]:
    """List the volumes of a habitat, including those of paths that its config no longer names. Workspaces come first.

    A person's copy of a volume may have its labels, but doesn't have its name.

    Raises:
        Conflict: Another project has a volume of this name.
    """
    engine_name = project.names.of(name)
    volumes = persistent(project.engine.volumes(label=f"{image_labels.LABEL_NAME}={engine_name}"), engine_name)
    for volume in volumes:
        if project.identity.is_foreign(volume.labels):
            raise project.names.conflict(name, f"the volume {volume.name}", volume.labels)
    return sorted(volumes, key=lambda volume: not is_workspace(volume))


def persistent(volumes: Iterable[Volume], habitat: str) -> list[Volume]:
    """Return the persistent volumes and workspaces of a habitat, by its name on the engine, among some volumes."""
    return [
        volume
        for volume in volumes
        if volume.labels.get(image_labels.LABEL_NAME) == habitat and volume.name == _own_name(volume, habitat)
    ]


def _own_name(volume: Volume, habitat: str) -> str:
    if is_workspace(volume):
        return workspace_volume_name(habitat, volume.labels[LABEL_WORKSPACE])
    return volume_name(habitat, volume.labels.get(LABEL_PERSIST, ""))
