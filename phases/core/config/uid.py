"""The key `uid`: the uid and gid of USER, so that files in a mounted folder have one owner on both sides."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from phases.core.errors import ConfigError
from phases.core.model import UserIds

if TYPE_CHECKING:
    from phases.core.config.scope import Scope

# The largest uid that engines accept.
_MAX_UID = 2**31 - 1


def of_user(scope: Scope, text: str) -> UserIds | None:
    """Return the uid and gid of USER for the key's value, None if any will do.

    None also if the person is root, since USER must not become root by accident. Raises ConfigError.
    """
    if not text:
        return None
    where = scope.at("uid")
    if text == "host":
        ids = _of_person()
    elif re.fullmatch(r"[1-9][0-9]{0,9}", text) and int(text) <= _MAX_UID:
        ids = (int(text), int(text))
    else:
        raise ConfigError(f"uid is {text[:40]!r}", where=where, remedy=f"write host, or a number from 1 to {_MAX_UID}")
    if ids and scope.user == "root":
        raise ConfigError("uid needs a USER other than root", where=where, remedy="set another USER, or leave uid out")
    return UserIds(*ids, where) if ids else None


def _of_person() -> tuple[int, int] | None:
    """Return uid and gid of the person who runs this, with sudo too; None for root."""
    uid, gid = os.getuid(), os.getgid()
    if uid == 0:
        texts = [os.environ.get(name, "") for name in ("SUDO_UID", "SUDO_GID")]
        uid, gid = map(int, texts) if all(re.fullmatch(r"[0-9]{1,9}", text) for text in texts) else (0, 0)
    return (uid, gid or uid) if uid else None
