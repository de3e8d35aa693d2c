"""Users and groups of an image: who owns what is put into it, and where ~ is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phases.core.errors import ConfigError

if TYPE_CHECKING:
    from phases.core.errors import Origin

NO_USER = "make it in an earlier phase, or name another"


class Accounts:
    """The users of an image, from its passwd and group files."""

    def __init__(self, passwd: bytes, group: bytes) -> None:
        rows = [line.split(":") for line in passwd.decode(errors="replace").splitlines()]
        self._users = {row[0]: row for row in rows if len(row) > 5}
        rows = [line.split(":") for line in group.decode(errors="replace").splitlines()]
        self._groups = {row[0]: row[2] for row in rows if len(row) > 2}

    def __contains__(self, name: str) -> bool:
        return name in self._users or name == "root" or name.isdigit()

    def ids(self, owner: str, origin: Origin) -> tuple[int, int]:
        """uid and gid of NAME or NAME:GROUP; numbers stand for themselves. Raises ConfigError."""
        name, _, group = owner.partition(":")
        if name not in self:
            raise ConfigError(f"there is no user '{name}' in the image", where=origin, remedy=NO_USER)
        if group and group not in self._groups and not group.isdigit():
            raise ConfigError(f"there is no group '{group}' in the image", where=origin, remedy=NO_USER)
        row = self._users.get(name) or [name, "", "0" if name == "root" else name, "0" if name == "root" else name]
        return int(row[2]), int(self._groups.get(group, group) if group else row[3])

    def expand(self, dest: str, owner: str, origin: Origin) -> str:
        """`dest` with ~ as the owner's home."""
        if not (dest == "~" or dest.startswith("~/")):
            return dest
        name = owner.partition(":")[0]
        home = self._users[name][5] if name in self._users else ""
        if not home.startswith("/"):
            raise ConfigError(f"user '{name}' has no home", where=origin, remedy="write the whole path")
        return home.rstrip("/") + dest[1:]
