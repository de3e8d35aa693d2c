"""The files that the image of a habitat has at its persistent paths."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

from phases.core.config.mounts import persist, volume_conflicts
from phases.core.container.mount_points import MountPoints
from phases.core.errors import LinkInTheWay, StartError
from phases.core.runtime.persistence import shared
from phases.core.runtime.persistence.volumes import Persistence, PersistentPath, shared_volume_name, volume_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from phases.core.entry_settings import Persisted
    from phases.core.model import Habitat
    from phases.core.project import Project

# The mode bit that lets others read a file.
_READABLE = 0o004


class ImageContent:
    """The files that the image has at the persistent paths, read in a container without volumes.

    Attributes:
        persistence: The persistent paths and their owner.
        missing: Folders to create, parents first.
        files: The content and the mode of single files by their path, None for one that isn't copied.
    """

    def __init__(self, project: Project, container: str, habitat: Habitat, env: Mapping[str, str]) -> None:
        self._engine = engine = project.engine
        name = project.names.of(habitat.name)
        self._container = container
        self.points = MountPoints(
            lambda path: engine.read_file(container, path) or b"",
            lambda path: engine.stat(container, path),
            lambda path: engine.path_info(container, path),
            habitat,
            env,
            [(persisted.path, persisted.origin) for persisted in habitat.entry.persist],
        )
        persist.check(habitat, self.points.home)
        volumes = self.points.volumes(habitat)
        entries = tuple(self._resolve(name, persisted) for persisted in habitat.entry.persist)
        for entry, persisted in zip(entries, habitat.entry.persist, strict=True):
            problem = f"entry.persist: {persisted.path} can't persist: it"
            volume_conflicts.check_beside_volumes(habitat, volumes, problem, entry.resolved, persisted.origin)
        self.persistence = Persistence(entries, self.points.owner)
        self.missing = self.points.missing(posixpath.dirname(entry.resolved) for entry in entries)
        self.files = {entry.path: self._content(entry) for entry in self.persistence.files}

    def _resolve(self, habitat: str, persisted: Persisted) -> PersistentPath:
        path = persisted.path.rstrip("/")
        resolved = self.points.resolve(path, last=persisted.is_folder)
        stat = self._engine.stat(self._container, resolved)
        if stat and not stat.link and stat.is_dir != persisted.is_folder:
            kind, remedy = ("a folder", f"{path}/") if stat.is_dir else ("a file", path)
            raise StartError(f"{path} is {kind} in the image", where=persisted.origin, remedy=f"write {remedy}")
        if persisted.shared:
            name = shared_volume_name(shared.person(), persisted.path, self.points.owner)
            return PersistentPath(persisted.path, resolved, name, shared=True)
        return PersistentPath(persisted.path, resolved, volume_name(habitat, persisted.path))

    def _content(self, entry: PersistentPath) -> tuple[bytes, int] | None:
        """Return content and mode of a file that USER may read. A link that USER may have made isn't followed."""
        try:
            path = self.points.resolve(entry.path)
        except LinkInTheWay:
            return None
        info = self._engine.path_info(self._container, path, content=True)
        if info is None or info.kind != "file" or not (info.uid == self.points.owner[0] or info.mode & _READABLE):
            return None
        return info.content, info.mode
