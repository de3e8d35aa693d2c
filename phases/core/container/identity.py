"""The variables that say who runs a command: HOME, USER, LOGNAME, SHELL, and those that lead into a home.

A base image may set them for its own user, as `ENV HOME=/root` does, and an image can set them for one user only. So
each command gets those of the user who runs it. What `env:` of the config sets is meant for USER.
"""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from phases.core.container.users import UserDatabase
    from phases.core.model import Habitat

#: Variables that every command gets, whether the image has them or not.
ALWAYS = ("HOME", "USER", "LOGNAME", "SHELL")

# Other variables that a program reads to find its user's name, mail or files. They are set right if the image has them.
_OTHERS = r"USERNAME|MAIL|XDG_\w+|GNUPGHOME|HISTFILE"

_RUNTIME_FOLDER = re.compile(r"/run/user/([0-9]+)(/.*)?")
_MAIL_FOLDERS = ("/var/mail", "/var/spool/mail")

# The shell of a user for whom /etc/passwd names none.
_SHELL = "/bin/sh"


def depends_on_user(name: str) -> bool:
    """Return whether a variable has another value for another user."""
    return name in ALWAYS or bool(re.fullmatch(_OTHERS, name))


def homes(habitat: Habitat, env: Mapping[str, str]) -> dict[str, str]:
    """Return the home of USER if the config sets HOME, by user, as UserDatabase takes it. env: that of the image."""
    home = env.get("HOME", "")
    return {habitat.user: home} if "HOME" in habitat.env.values and home.startswith("/") else {}


def set_by_config(habitat: Habitat, user: str) -> set[str]:
    """Return the variables that a user's commands have as the config sets them."""
    return set(habitat.env.values) if user == habitat.user else set()


def variables(habitat: Habitat, users: UserDatabase, user: str, env: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that a command needs beside those of its image.

    Args:
        habitat: The habitat.
        users: The users of the image.
        user: The user who runs the command, a name or a number.
        env: The environment that the command would have.

    Raises:
        StartError: The image has no such user.
    """
    account = users.account(user, habitat.name)
    name = account.name or user
    own_home = account.home or "/"
    values = {"HOME": own_home, "USER": name, "LOGNAME": name, "SHELL": account.shell or _SHELL}
    foreign = {"/root", env.get("HOME", ""), *(users.home(other) for other in ("root", habitat.user))} - {own_home}
    for variable, value in env.items():
        if variable not in ALWAYS and depends_on_user(variable):
            values[variable] = _rewritten(variable, value, name, str(account.uid), _moved(value, foreign, own_home))
    kept = set_by_config(habitat, user) & env.keys()
    return {variable: value for variable, value in values.items() if variable not in kept}


def _rewritten(variable: str, value: str, name: str, uid: str, moved: str) -> str:
    if variable == "USERNAME":
        return name
    if variable == "MAIL" and posixpath.dirname(value) in _MAIL_FOLDERS:
        return posixpath.join(posixpath.dirname(value), name)
    if variable == "XDG_RUNTIME_DIR" and (match := _RUNTIME_FOLDER.fullmatch(value)) and match[1] != uid:
        return ""  # nobody has created one for this user, and an empty value counts as none
    return moved


def _moved(value: str, foreign: Collection[str], home: str) -> str:
    """Return a path, or a list of paths, with `home` in place of the home of another user."""
    return ":".join(_moved_path(path, foreign, home) for path in value.split(":"))


def _moved_path(path: str, foreign: Iterable[str], home: str) -> str:
    for other in foreign:
        place = other.rstrip("/")
        if place and (path == place or path.startswith(f"{place}/")):
            return home.rstrip("/") + path[len(place) :] or "/"
    return path
