"""Commands of a RUN that do the same whether a folder exists already or not."""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING

from phases.core.migrate import accounts

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

# They need the folder, or only name it.
_HARMLESS = ("cd", "chgrp", "chmod", "chown", "echo", "ls", "printf")

# An option by which mkdir gives a new folder a mode, and leaves another.
_OPTION_M = re.compile("(^| )(-[a-z]*m|--mode)")

_ON_ACCOUNTS = ("chpasswd", "gpasswd", "groupmod", "passwd", *accounts.CREATE_GROUP)


def only_harmless(
    commands: Sequence[Sequence[str]], folders: Collection[str], naming: re.Pattern[str], *, is_list: bool
) -> bool:
    """Return whether all commands that name a folder do the same if the folder exists, and is empty.

    Args:
        commands: The words of each command.
        folders: The folder, and those above it that the image lacks.
        naming: Matches in a word that names one of them.
        is_list: Whether the commands are one list, of which none runs after a failure. Then mkdir can get -p.
    """
    return "umask" not in [words[0] for words in commands] and all(
        _is_harmless(words, folders, is_list=is_list)
        for words in commands
        if any(naming.search(word) for word in words)
    )


def _is_harmless(words: Sequence[str], folders: Collection[str], *, is_list: bool) -> bool:
    command, *others = (posixpath.basename(words[0]), *words[1:])
    if any(re.search("[$`*?]", word) for word in words):
        return False
    if command in _HARMLESS or command in _ON_ACCOUNTS:
        return True
    if command in accounts.CREATE_USER:
        return accounts.home_of_new(words) not in folders
    if command == "mkdir":
        return not _OPTION_M.search(" ".join(others)) and (is_list or has_p(words))
    return False


def has_p(mkdir: Sequence[str]) -> bool:
    """Return whether a mkdir accepts a folder that exists."""
    return any(re.fullmatch("-[pv]*p[pv]*|--parents", word) for word in mkdir)
