"""Users and groups of an image."""

from __future__ import annotations

import re
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from phases.core.errors import ConfigError, StartError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from phases.core.origin import Origin

# A uid or gid. The files are not the program's own, so a row may be malformed. `\d` matches other digits, too.
_NUMBER = re.compile(r"[0-9]{1,10}")

NO_USER = "make it in the Dockerfile (for repos: and later phases setup: will do), or name another"

# Phase users makes USER, so something later has removed it, or keeps users where no engine looks.
_USER_REMOVED = "see that setup, tools and hooks keep it in /etc/passwd"


def _is_number(name: str) -> bool:
    return _NUMBER.fullmatch(name) is not None


class UserRow(NamedTuple):
    """A user of an image. The name, the home and the shell are "" where the image has none."""

    name: str
    uid: int
    home: str
    shell: str


class UserDatabase:
    """The users of an image.

    Args:
        read: Returns the content of a file of the image. Called for its passwd and group files when they are needed.
        homes: The homes of users who have another one than their passwd file says.
    """

    def __init__(self, read: Callable[[str], bytes], homes: Mapping[str, str] | None = None) -> None:
        self._read = read
        self._homes = homes or {}

    @cached_property
    def _users(self) -> dict[str, list[str]]:
        rows = [line.split(":") for line in self._read("/etc/passwd").decode(errors="replace").splitlines()]
        return {row[0]: row for row in rows if len(row) > 5 and _is_number(row[2]) and _is_number(row[3])}

    @cached_property
    def _groups(self) -> dict[str, str]:
        rows = [line.split(":") for line in self._read("/etc/group").decode(errors="replace").splitlines()]
        return {row[0]: row[2] for row in rows if len(row) > 2 and _is_number(row[2])}

    @property
    def rows(self) -> dict[str, tuple[int, int, str]]:
        """The uid, the gid and the home of each user, by name."""
        return {name: (int(row[2]), int(row[3]), self.home(name)) for name, row in self._users.items()}

    @property
    def groups(self) -> dict[str, int]:
        """The number of each group, by name."""
        return {name: int(number) for name, number in self._groups.items()}

    def __contains__(self, name: str) -> bool:
        return name == "root" or _is_number(name) or name in self._users

    def ids(self, owner: str, origin: Origin) -> tuple[int, int]:
        """Return uid and gid of an owner.

        Args:
            owner: NAME or NAME:GROUP. Numbers stand for themselves.
            origin: The place that names the owner, for the error.

        Raises:
            ConfigError: The image has no such user or group.
        """
        name, _, group = owner.partition(":")
        if name not in self:
            raise ConfigError(f"there is no user '{name}' in the image", where=origin, remedy=NO_USER)
        uid, gid = self._ids_of(name)
        if not group:
            return uid, gid
        if not _is_number(group) and group not in self._groups:
            raise ConfigError(f"there is no group '{group}' in the image", where=origin, remedy=NO_USER)
        return uid, int(group if _is_number(group) else self._groups[group])

    def _ids_of(self, name: str) -> tuple[int, int]:
        if name == "root":
            return 0, 0
        if name in self._users:
            return int(self._users[name][2]), int(self._users[name][3])
        return int(name), int(name)

    def expand(self, dest: str, owner: str, origin: Origin) -> str:
        """Return `dest` with the owner's home for ~. Raises ConfigError if the owner has none."""
        if not (dest == "~" or dest.startswith("~/")):
            return dest
        name = owner.partition(":")[0]
        home = self.home(name)
        if not home:
            raise ConfigError(f"user '{name}' has no home", where=origin, remedy="write the whole path")
        return home.rstrip("/") + dest[1:]

    def account(self, user: str, where: str) -> UserRow:
        """Return the account of a user.

        Args:
            user: A name or a number.
            where: The place for the error.

        Raises:
            StartError: The image has no such user.
        """
        if user not in self:
            raise StartError(f"there is no user '{user}' in the image", where=where, remedy=_USER_REMOVED)
        row = self._users.get(user)
        if row is None and _is_number(user):
            row = next((row for row in self._users.values() if row[2] == user), None)
        if row is None:
            return UserRow("root" if user in ("root", "0") else "", self._ids_of(user)[0], self.home(user), "")
        shell = row[6] if len(row) > 6 and row[6].startswith("/") else ""
        return UserRow(row[0], int(row[2]), self.home(row[0]), shell)

    def home(self, name: str) -> str:
        """Return the home of a user, "" if there is none."""
        home = self._homes.get(name) or (self._users[name][5] if name in self._users else "")
        return home if home.startswith("/") else ""
