"""The key `uid`: the numbers that USER has, so that files on both sides of a mount have one owner."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from phases.core.errors import ConfigError
from phases.core.model import UserIds

if TYPE_CHECKING:
    from phases.core.config.scope import Scope

# What an engine takes for a user.
_MOST = 2**31 - 1


def of_user(scope: Scope, text: str) -> UserIds | None:
    """None for any, which root has who is nobody else: USER is not to be root by the way."""
    if not text:
        return None
    where = scope.at("uid")
    if text == "host":
        ids = _of_person()
    elif re.fullmatch(r"[1-9][0-9]{0,9}", text) and int(text) <= _MOST:
        ids = (int(text), int(text))
    else:
        raise ConfigError(f"uid is {text[:40]!r}", where=where, remedy=f"write host, or a number from 1 to {_MOST}")
    if ids and scope.user == "root":
        raise ConfigError("uid is for a USER who isn't root", where=where, remedy="set another USER, or leave it out")
    return UserIds(*ids, where) if ids else None


def _of_person() -> tuple[int, int] | None:
    """Of whoever runs this, also by way of sudo."""
    uid, gid = os.getuid(), os.getgid()
    if uid == 0:
        texts = [os.environ.get(name, "") for name in ("SUDO_UID", "SUDO_GID")]
        uid, gid = map(int, texts) if all(re.fullmatch(r"[0-9]{1,9}", text) for text in texts) else (0, 0)
    return (uid, gid or uid) if uid else None
