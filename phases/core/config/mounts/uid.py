"""The key `uid`: the number of USER, so that files in a mounted folder have one owner on both sides."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from phases.core.errors import ConfigError
from phases.core.model import UserIds

if TYPE_CHECKING:
    from phases.core.config.scope import Scope
    from phases.core.model import Habitat

# The largest uid that engines accept.
_MAX_UID = 2**31 - 1


def user_ids(scope: Scope, text: str) -> UserIds | None:
    """Return the uid and gid for USER.

    Returns:
        None if any will do, and for `host` if the person is root, since USER must not become root by accident.

    Raises:
        ConfigError: The key's value is wrong, or USER is root.

    """
    if not text:
        return None
    where = scope.at("uid")
    if text == "host":
        ids = _ids_of_person()
    elif re.fullmatch(r"[1-9][0-9]{0,9}", text) and int(text) <= _MAX_UID:
        ids = (int(text), int(text))
    else:
        rule = f"host, or a number from 1 to {_MAX_UID}"
        raise scope.wrong_value(repr(text[:40]), rule, "write host for your own number", "uid")
    if ids != (0, 0) and scope.user == "root":
        raise ConfigError("uid needs a USER other than root", where=where, remedy="set another USER, or leave uid out")
    return UserIds(*ids, where)


def _ids_of_person() -> tuple[int, int]:
    """Return uid and gid of the person who runs this, with sudo too; (0, 0) for root."""
    uid, gid = os.getuid(), os.getgid()
    if uid == 0:
        texts = [os.environ.get(name, "") for name in ("SUDO_UID", "SUDO_GID")]
        uid, gid = map(int, texts) if all(re.fullmatch(r"[0-9]{1,9}", text) for text in texts) else (0, 0)
    return (uid, gid or uid) if uid else (0, 0)


def uid_warning(habitat: Habitat) -> str:
    """Return the warning about a `uid: host` without effect, "" if there is none."""
    ids = habitat.user_ids
    if not ids or ids.uid:
        return ""
    return (
        f"{ids.origin}: uid: host has no effect, since you are root: {habitat.user} keeps a number of its own, and may "
        "not be able to write to your volumes: write a number, or run this as their owner"
    )
