"""Finds out which workspaces a habitat has in its image."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phases.core import events
from phases.core.cache.image_files import KnownFiles
from phases.core.config.mounts import workspaces
from phases.core.config.mounts.mountable_paths import within
from phases.core.container import identity, safe_paths
from phases.core.container.users import UserDatabase
from phases.core.errors import LinkInTheWay
from phases.core.runtime.persistence.volumes import Workspace, workspace_volume_name

if TYPE_CHECKING:
    from collections.abc import Iterable

    from phases.core.engine.types import ImageConfig
    from phases.core.model import Habitat
    from phases.core.project import Project


def assumed(project: Project, habitat: Habitat) -> tuple[Workspace, ...] | None:
    """Return the workspaces of a habitat if its image has no link on their way, None if only the image can tell."""
    candidates = workspaces.candidates(habitat)
    if any(path.startswith("~") for path in candidates):
        return None
    return _workspaces(project, habitat, [(path, path) for path in candidates])


def in_container(
    project: Project, habitat: Habitat, container: str, image: ImageConfig, *, notify: bool = True
) -> tuple[Workspace, ...]:
    """Return the workspaces of a habitat, as a container in which nothing runs has them.

    Args:
        project: The project.
        habitat: The habitat.
        container: Its id.
        image: Its image.
        notify: Whether to warn of a workspace that stays in the image, since USER may have made a link on its way.
    """
    engine = project.engine
    known_files = KnownFiles(project.state_folder)
    known = known_files.of(habitat.name).setdefault(image.id, {})

    def read(path: str) -> bytes:
        if any(within(path, volume.dest) for volume in habitat.volumes):
            return engine.read_file(container, path) or b""  # a file of this machine, and not of the image
        if path not in known:
            known[path] = engine.read_file(container, path) or b""
            known_files.save(habitat.name)
        return known[path]

    users = UserDatabase(read, identity.homes(habitat, image.env))
    home = users.home(habitat.user)
    paths = safe_paths.paths_in(engine, container)
    places: list[tuple[str, str]] = []
    for path in workspaces.candidates(habitat):
        try:
            resolved = paths.resolve(_absolute(path, home, users))
        except LinkInTheWay as error:
            if notify:
                text = f"{path} stays in the container, and not on a volume: {error.message}"
                project.bus.emit(events.Notice(habitat.name, text, warning=True))
            continue
        stat = engine.stat(container, resolved)
        if (stat is None or stat.is_dir) and workspaces.is_possible(habitat, resolved, home):
            places.append((path, resolved))
    return _workspaces(project, habitat, places)


def _absolute(path: str, home: str, users: UserDatabase) -> str:
    """Return a candidate with a home for ~ or ~NAME. One of a user without a home is no path of the container."""
    if not path.startswith("~"):
        return path
    name, _, rest = path[1:].partition("/")
    return f"{users.home(name) if name else home}/{rest}"


def _workspaces(project: Project, habitat: Habitat, places: Iterable[tuple[str, str]]) -> tuple[Workspace, ...]:
    name = project.names.of(habitat.name)
    rows = workspaces.outermost(places)
    return tuple(Workspace(path, resolved, workspace_volume_name(name, path)) for path, resolved in rows)
