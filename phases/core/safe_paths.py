"""Paths in a container, walked one component at a time: nothing is written or mounted through a link that USER made."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

from phases.core.errors import LinkInTheWay

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from phases.core.engine import Engine, PathInfo, Stat

# As many links in a row as Linux follows.
_MOST_LINKS = 40

# Folders of the image's distribution, in which USER can make nothing.
_SYSTEM = ("/bin", "/boot", "/etc", "/lib", "/lib32", "/lib64", "/opt", "/run", "/sbin", "/usr", "/var/lib")

# Group and others.
_WRITABLE = 0o022


class SafePaths:
    """The paths of one container while nothing changes them.

    Args:
        stat: Looks at a path, its last component not followed.
        info: The same with the owner; asked of links and the folders above them only.
        folders: Known to be folders and no links; what is found out is added.
    """

    def __init__(
        self, stat: Callable[[str], Stat | None], info: Callable[[str], PathInfo | None], folders: set[str]
    ) -> None:
        self._stat = stat
        self._info = info
        self._folders = folders

    def resolve(self, path: str, *, last: bool = True) -> str:
        """The path without a link in it. last: whether a link in the place of the last component is followed as well.

        A link is followed where only root can have put it there.

        Raises:
            LinkInTheWay: USER can have made a link on the way.
        """
        done, todo, links = "/", _parts(path), 0
        while todo:
            part = todo.pop(0)
            place = posixpath.normpath(posixpath.join(done, part))
            if place in self._folders or place == "/":
                done = place
                continue
            if not todo and not last:
                return place
            found = self._stat(place)
            if found is None:
                return posixpath.join(place, *todo)
            if found.is_dir:
                self._folders.add(place)
            if not found.link:
                done = place
                continue
            links += 1
            target = self._target(place, path)
            if links > _MOST_LINKS:
                raise LinkInTheWay(path, place, target)
            todo = [*_parts(target), *todo]
            done = "/" if target.startswith("/") else done
        return done

    def _target(self, link: str, path: str) -> str:
        """Where a link leads. Raises LinkInTheWay unless it is root's, and so are all folders above it."""
        found = self._info(link)
        target = found.target if found else ""
        if found is None or found.uid or not all(self._is_roots(folder) for folder in _above(link)):
            raise LinkInTheWay(path, link, target)
        return target

    def _is_roots(self, folder: str) -> bool:
        found = self._info(folder)
        return found is not None and found.uid == 0 and not found.mode & _WRITABLE


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in ("", ".")]


def _above(path: str) -> Iterable[str]:
    while path != "/":
        path = posixpath.dirname(path)
        yield path


def of(engine: Engine, container: str, folders: Iterable[str] = ()) -> SafePaths:
    """Those of a container in which nothing runs. folders: as of SafePaths."""
    return SafePaths(
        lambda path: engine.stat(container, path), lambda path: engine.path_info(container, path), set(folders)
    )


def check_mounts(
    engine: Engine, container: str, places: Iterable[str], *, last: bool, folders: Iterable[str] = ()
) -> None:
    """Refuse a mount whose place USER has moved by a link. To be called before the container is started, since the
    engine follows all links then. last: the places themselves count as well; a place that was mounted already can't
    have been replaced. folders: that USER can't have replaced either.

    Raises:
        LinkInTheWay: One of the places is reached through such a link.
    """
    paths = of(engine, container, folders)
    for place in places:
        if any(place == system or place.startswith(f"{system}/") for system in _SYSTEM):
            continue
        if last or posixpath.dirname(posixpath.dirname(place)) != "/":
            paths.resolve(place, last=last)
