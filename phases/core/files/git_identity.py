"""The name and the e-mail that the person's own git gives to commits."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

# Variables that would name another repository than the one that the folder is in.
_DROPPED = ("GIT_DIR", "GIT_WORK_TREE", "GIT_COMMON_DIR", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_NAMESPACE")

# Reads the config files, and runs nothing that they name.
_COMMAND = ("git", "config", "--null", "--get-regexp", r"^user\.(name|email)$")

# Seconds that git may take.
_TIMEOUT = 5


def read(folder: Path) -> dict[str, str]:
    """Return `name` and `email` as far as git has them, in a folder: as in a commit there.

    A repository's own come before the person's. A value may be anything: see `names.is_git_name`.
    """
    env = {name: value for name, value in os.environ.items() if name not in _DROPPED}
    try:
        done = subprocess.run(
            _COMMAND,
            cwd=folder,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_TIMEOUT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):  # there is no git
        return {}
    rows = (row.partition("\n") for row in done.stdout.decode(errors="surrogateescape").split("\0") if row)
    return {key.removeprefix("user."): value for key, _, value in rows}  # the last of a key counts
