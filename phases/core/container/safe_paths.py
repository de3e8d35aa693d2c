"""Resolves paths in a container one component at a time, and refuses a link that USER may have made."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

from phases.core.errors import LinkInTheWay
from phases.core.files.safe_open import MAX_LINKS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from phases.core.engine.protocol import Engine
    from phases.core.engine.types import PathInfo, Stat

# Folders of the image's distribution, in which USER can make nothing.
_SYSTEM = ("/bin", "/boot", "/etc", "/lib", "/lib32", "/lib64", "/opt", "/run", "/sbin", "/usr", "/var/lib")

# The mode bits that let the group or others write.
_WRITABLE = 0o022


class SafePaths:
    """Resolves paths of a container, while nothing in the container changes them.

    Args:
        stat: Stats a path without following its last component.
        info: Does the same, and returns the owner, too. Called for links and the folders above them only.
        folders: Paths known to be folders and not links. `resolve` adds those it finds.
    """

    def __init__(
        self, stat: Callable[[str], Stat | None], info: Callable[[str], PathInfo | None], folders: set[str]
    ) -> None:
        self._stat = stat
        self._info = info
        self._folders = folders

    def resolve(self, path: str, *, last: bool = True) -> str:
        """Return the path with all links resolved. last: also resolve a link in the last component.

        Raises:
            LinkInTheWay: A link doesn't belong to root, or is in a folder that another user can change.
        """
        resolved, todo, links = "/", _parts(path), 0
        while todo:
            part = todo.pop(0)
            current = posixpath.normpath(posixpath.join(resolved, part))
            if current in self._folders or current == "/":
                resolved = current
                continue
            if not todo and not last:
                return current
            found = self._stat(current)
            if found is None:
                return posixpath.join(current, *todo)
            if found.is_dir:
                self._folders.add(current)
            if not found.link:
                resolved = current
                continue
            links += 1
            target = self._target(current, path)
            if links > MAX_LINKS:
                raise LinkInTheWay(path, current, target)
            todo = [*_parts(target), *todo]
            resolved = "/" if target.startswith("/") else resolved
        return resolved

    def _target(self, link: str, path: str) -> str:
        """Return where a link leads. Raises LinkInTheWay unless root owns it and all folders above it."""
        found = self._info(link)
        target = found.target if found else ""
        if found is None or found.uid or not all(self._is_roots(folder) for folder in above(link)):
            raise LinkInTheWay(path, link, target)
        return target

    def _is_roots(self, folder: str) -> bool:
        found = self._info(folder)
        return found is not None and found.uid == 0 and not found.mode & _WRITABLE


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in ("", ".")]


def above(path: str) -> Iterable[str]:
    """Yield the folders above a path, the lowest first."""
    while path != "/":
        path = posixpath.dirname(path)
        yield path


def paths_in(engine: Engine, container: str, folders: Iterable[str] = ()) -> SafePaths:
    """Return the paths of a container in which nothing runs. folders: as for SafePaths."""
    return SafePaths(
        lambda path: engine.stat(container, path), lambda path: engine.path_info(container, path), set(folders)
    )


def check_mounts(
    engine: Engine, container: str, mount_points: Iterable[str], *, last: bool, folders: Iterable[str] = ()
) -> None:
    """Check the mount points of a container before it starts, since the engine follows every link then.

    Args:
        engine: The engine.
        container: The id of the container.
        mount_points: The mount points.
        last: Whether to check the last component of a mount point, too. False if it was mounted before, since then
            nobody can have replaced it.
        folders: Folders that USER can't have replaced, and that need no check.

    Raises:
        LinkInTheWay: A mount point is reached through a link that USER may have made.
    """
    paths = paths_in(engine, container, folders)
    for path in mount_points:
        if any(path == system or path.startswith(f"{system}/") for system in _SYSTEM):
            continue
        if last or posixpath.dirname(posixpath.dirname(path)) != "/":
            paths.resolve(path, last=last)
