"""What an image has where something is to be mounted. Whose the folders on the way are, an engine doesn't ask:
those that it makes are root's. It follows every link; here one that USER can have made is refused.
"""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

from phases.core.container.safe_paths import SafePaths
from phases.core.container.users import UserDatabase
from phases.core.errors import ConfigError, LinkInTheWay

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from phases.core.engine.protocol import PathInfo, Stat
    from phases.core.model import Habitat
    from phases.core.origin import Origin


class MountPoints:
    """As seen in a container of the image. read, stat, info: of a path there; paths: absolute or below ~, each with the
    line that names it, one at least. owner: uid and gid of USER; home: his, "" where he has none and none is
    wanted. Raises ConfigError.
    """

    def __init__(
        self,
        read: Callable[[str], bytes],
        stat: Callable[[str], Stat | None],
        info: Callable[[str], PathInfo | None],
        habitat: Habitat,
        paths: Sequence[tuple[str, Origin]],
    ) -> None:
        self._stat = stat
        self._paths = SafePaths(stat, info, set())
        self._origins = {path.rstrip("/"): origin for path, origin in paths}
        accounts = UserDatabase(read)
        self.owner = accounts.ids(habitat.user, paths[0][1])
        self.home = self._home(accounts, habitat, paths)
        own = [path for path in (self.home, habitat.workdir) if path.strip("/")]
        self._users = tuple(self._paths.resolve(path).rstrip("/") + "/" for path in own)

    @staticmethod
    def _home(accounts: UserDatabase, habitat: Habitat, paths: Sequence[tuple[str, Origin]]) -> str:
        origin = next((origin for path, origin in paths if path.startswith("~")), None)
        try:
            return accounts.expand("~", habitat.user, origin or habitat.base_origin)
        except ConfigError:
            if origin:
                raise
            return ""

    def at(self, path: str, *, last: bool = True) -> str:
        """Where a path leads, without a link in it. last: a link in the place of the last component is followed, too.
        Raises LinkInTheWay with the line of the path.
        """
        try:
            return self._paths.resolve(self.home + path[1:] if path.startswith("~") else path, last=last)
        except LinkInTheWay as error:
            error.where = self._origins[path.rstrip("/")]
            raise

    def is_users(self, path: str) -> bool:
        """Return whether it is where USER may make files."""
        return path.startswith(self._users)

    def owner_of(self, path: str) -> tuple[int, int]:
        """Whose a folder is that is missing."""
        return self.owner if self.is_users(path) else (0, 0)

    def missing(self, folders: Iterable[str]) -> list[str]:
        """Those that aren't there, with what is missing above them, the highest first."""
        missing: set[str] = set()
        for path in folders:
            folder = path
            while folder not in missing and folder != "/" and self._stat(folder) is None:
                missing.add(folder)
                folder = posixpath.dirname(folder)
        return sorted(missing)
