"""Resolves the mount points of a habitat in its image.

The engine follows every link on the way to a mount point, and makes missing folders as root. Here, a link that USER may
have made is refused, and missing folders get the right owner.
"""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

from phases.core.container import identity
from phases.core.container.safe_paths import SafePaths
from phases.core.container.users import UserDatabase
from phases.core.errors import ConfigError, LinkInTheWay

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from phases.core.engine.types import PathInfo, Stat
    from phases.core.model import Habitat
    from phases.core.origin import Origin


class MountPoints:
    """Mount points, as seen in a container of the image.

    Attributes:
        owner: uid and gid of USER.
        home: USER's home, "" if there is none and no path needs it.

    Args:
        read: Returns the content of a file.
        stat: Stats a path without following its last component.
        info: Does the same, and returns the owner, too.
        habitat: The habitat.
        env: The environment of the image.
        paths: One mount point at least, absolute or below ~, each with its place in the config.

    Raises:
        ConfigError: USER, or a home that a path needs, is missing in the image.
    """

    def __init__(
        self,
        read: Callable[[str], bytes],
        stat: Callable[[str], Stat | None],
        info: Callable[[str], PathInfo | None],
        habitat: Habitat,
        env: Mapping[str, str],
        paths: Sequence[tuple[str, Origin]],
    ) -> None:
        self._stat = stat
        self._paths = SafePaths(stat, info, set())
        self._origins = {path.rstrip("/"): origin for path, origin in paths}
        users = UserDatabase(read, identity.homes(habitat, env))
        self.owner = users.ids(habitat.user, paths[0][1])
        self.home = self._home(users, habitat, paths)
        folders = [path for path in (self.home, habitat.workdir) if path.strip("/")]
        self._user_folders = tuple(self._paths.resolve(path).rstrip("/") + "/" for path in folders)

    @staticmethod
    def _home(users: UserDatabase, habitat: Habitat, paths: Sequence[tuple[str, Origin]]) -> str:
        origin = next((origin for path, origin in paths if path.startswith("~")), None)
        try:
            return users.expand("~", habitat.user, origin or habitat.base_origin)
        except ConfigError:
            if origin:
                raise
            return ""

    def resolve(self, path: str, *, last: bool = True) -> str:
        """Return a mount point with all links resolved.

        Args:
            path: One of `paths`.
            last: Whether to resolve a link in the last component, too.

        Raises:
            LinkInTheWay: USER may have made a link on the way. It names the place in the config.
        """
        try:
            return self._paths.resolve(self.home + path[1:] if path.startswith("~") else path, last=last)
        except LinkInTheWay as error:
            error.where = self._origins[path.rstrip("/")]
            raise

    def volumes(self, habitat: Habitat) -> dict[str, str]:
        """Return the paths of the habitat's volumes in the config, with those without links. Raises LinkInTheWay."""
        self._origins |= {volume.dest: volume.origin for volume in habitat.volumes}
        return {volume.dest: self.resolve(volume.dest) for volume in habitat.volumes}

    def is_users(self, path: str) -> bool:
        """Return whether a path is in USER's home or in WORKDIR."""
        return path.startswith(self._user_folders)

    def owner_of(self, path: str) -> tuple[int, int]:
        """Return uid and gid for a missing folder."""
        return self.owner if self.is_users(path) else (0, 0)

    def missing(self, folders: Iterable[str]) -> list[str]:
        """Return which of `folders`, and of the folders above them, the image lacks. Parents come first."""
        missing: set[str] = set()
        for path in folders:
            folder = path
            while folder not in missing and folder != "/" and self._stat(folder) is None:
                missing.add(folder)
                folder = posixpath.dirname(folder)
        return sorted(missing)
