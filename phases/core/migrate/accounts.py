"""The accounts that the RUNs of a Dockerfile create, as far as their text tells."""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from phases.core.config.names import USER

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from phases.core.container.users import UserDatabase

CREATE_USER, CREATE_GROUP = ("useradd", "adduser"), ("groupadd", "addgroup")

# Regular accounts have these numbers in all distributions.
_REGULAR = range(1000, 60000)

# The options of useradd, of both kinds of adduser, of groupadd and of usermod that take a value.
_WITH_VALUE = {f"-{letter}" for letter in "bcdefgGhkKpsu"} | {
    f"--{name}"
    for name in (
        *("base-dir", "comment", "conf", "expiredate", "firstuid", "gecos", "gid", "groups", "home", "home-dir"),
        *("inactive", "ingroup", "key", "lastuid", "password", "shell", "skel", "uid"),
    )
}
_OF_USERMOD = _WITH_VALUE | {"-l", "--login"}
_SYSTEM = ("-r", "-S", "--system")

# A row of /etc/passwd in a script that writes it.
_ROW = re.compile(r"(?<![\w.-])([A-Za-z_][\w.-]*):[^:\s]*:([0-9]{1,10}):([0-9]+):[^:\n]*:(/[^:\s]*):")


def id_number(text: str) -> int:
    """Return the uid or gid that a text is, -1 if it is none. `int` refuses digits such as ², and very many digits."""
    return int(text) if re.fullmatch("[0-9]{1,10}", text) else -1


@dataclass(frozen=True)
class Account:
    """A user.

    Attributes:
        uid: Its number, -1 for an unknown one.
        group: The name or the number of its first group, "" for an unknown one.
        home: Its home, "" for none.
    """

    uid: int
    group: str
    home: str


class Accounts:
    """The accounts of an image, and what RUNs do to them.

    Attributes:
        users: The users by name.
        groups: The numbers of groups by name, -1 for unknown ones.
    """

    def __init__(self, base: UserDatabase) -> None:
        self.groups = dict(base.groups)
        names = {gid: name for name, gid in self.groups.items()}
        self.users = {
            name: Account(uid, names.get(gid, str(gid)), home) for name, (uid, gid, home) in base.rows.items()
        }

    def group_names(self, group: str) -> set[str]:
        """Return the name and the number of a group that is given by one of them."""
        same = {group, *(name for name, gid in self.groups.items() if str(gid) == group)}
        return {name for name in same if name} | {str(self.groups[name]) for name in same if name in self.groups}

    def name_of(self, uid: int) -> str:
        """Return the name of a number, "" if it has none."""
        return next((name for name, account in self.users.items() if account.uid == uid >= 0), "")

    def apply(self, text: str, commands: Sequence[Sequence[str]]) -> None:
        """Follow one RUN. text: its script with variables replaced; commands: the same as words."""
        for words in commands:
            command = posixpath.basename(words[0])
            options, names = _parse(words)
            if not names or not USER.fullmatch(names[0]):
                continue
            if command in CREATE_USER:
                self._create(command, options, names)
            elif command in CREATE_GROUP and len(names) == 1:
                self.groups[names[0]] = id_number(_first(options, "-g", "--gid"))
            elif command in ("userdel", "deluser") and len(names) == 1:
                self.users.pop(names[0], None)
            elif command == "usermod":
                self._change(options, names[-1])
        for name, uid, gid, home in _ROW.findall(text):
            self.users[name] = Account(int(uid), gid, home)

    def _create(self, command: str, options: Mapping[str, str], names: Sequence[str]) -> None:
        # useradd has one name, at its end. `adduser USER GROUP` adds USER to GROUP.
        name = names[-1] if command == "useradd" else names[0]
        if name in self.users or (command == "adduser" and len(names) > 1):
            return
        uid = _first(options, "-u", "--uid")
        new = id_number(uid) if uid or options.keys() & {*_SYSTEM} else self._free(command)
        group_option = ("-g", "--gid") if command == "useradd" else ("-G", "--ingroup", "--gid")
        group = _first(options, *group_option)
        if not group and name not in self.groups and not options.keys() & {"-N", "--no-user-group", *_SYSTEM}:
            group = name
            self.groups[name] = new
        self.users[name] = Account(new, group, _home(command, options, name))

    def _free(self, command: str) -> int:
        """Return the number that a new user gets: useradd takes the one above all, adduser the lowest."""
        used = {account.uid for account in self.users.values()} & {*_REGULAR}
        if command == "useradd":
            return max(used, default=_REGULAR.start - 1) + 1
        return next(uid for uid in _REGULAR if uid not in used)

    def _change(self, options: Mapping[str, str], name: str) -> None:
        account = self.users.get(name)
        if account is None:
            return
        uid = id_number(_first(options, "-u", "--uid"))
        account = replace(
            account,
            uid=account.uid if uid < 0 else uid,
            group=_first(options, "-g", "--gid") or account.group,
            home=_first(options, "-d", "--home") or account.home,
        )
        del self.users[name]
        self.users[_first(options, "-l", "--login") or name] = account


def _parse(command: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Split useradd or one of its like into options with their values, and names."""
    with_value = _OF_USERMOD if command[0].endswith("usermod") else _WITH_VALUE
    options: dict[str, str] = {}
    names = []
    rest = list(command[1:])
    while rest:
        word = rest.pop(0)
        if not word.startswith("-"):
            names.append(word)
            continue
        name, equals, value = word.partition("=")
        if not word.startswith("--"):
            # Letters without a value may stand before one with a value, as in -mu 1000.
            letters = [f"-{letter}" for letter in word[1:]]
            at = next((at for at, letter in enumerate(letters) if letter in with_value), len(letters) - 1)
            options |= dict.fromkeys(letters[:at], "")
            name, value = "".join(letters[at : at + 1]), word[at + 2 :]
        if name in with_value and not equals and not value and rest:
            value = rest.pop(0)
        options[name] = value
    return options, names


def _first(options: Mapping[str, str], *names: str) -> str:
    return next((options[name] for name in names if name in options), "")


def _home(command: str, options: Mapping[str, str], name: str) -> str:
    home = _first(options, "-d", "--home-dir", "--home", *(["-h"] if command == "adduser" else []))
    return home or f"/home/{name}"


def home_of_new(words: Sequence[str]) -> str:
    """Return the home of the user that a useradd or adduser creates, "" if it names none."""
    options, names = _parse(words)
    command = posixpath.basename(words[0])
    return _home(command, options, names[-1] if command == "useradd" else names[0]) if names else ""


def creates_regular_account(commands: Sequence[Sequence[str]]) -> bool:
    """Return whether a command creates a user or a group that isn't one of the system."""
    for words in commands:
        if posixpath.basename(words[0]) in (*CREATE_USER, *CREATE_GROUP):
            options, names = _parse(words)
            if not options.keys() & {*_SYSTEM} and len(names) == 1:
                return True
    return False
