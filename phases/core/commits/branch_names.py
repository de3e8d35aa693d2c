"""Decides under which name a branch of a habitat comes into a repository of this machine.

The name of a branch inside is the agent's. So the rule is stricter than git's: no name is taken that a shell, a
terminal, another file system or a person reads as something else.
"""

from __future__ import annotations

import unicodedata

from phases.core.commits.host_git import TransferError
from phases.core.config.git_refs import GitValueError, check_ref
from phases.core.errors import printable

# What may stand between letters and digits.
_SIGNS = frozenset("._-+=#@,/")

# Bytes of a name, and parts between slashes.
_MOST_BYTES, _MOST_PARTS = 180, 10

# Characters of a refused name in an error.
_SHOWN = 60

#: The name for the commits of a detached HEAD.
DETACHED = "detached"


def incoming(habitat: str, branch: str, name: str = "") -> str:
    """Return the branch for what comes out of a habitat, such as habitat/api/main.

    Args:
        habitat: The name of the habitat.
        branch: The branch inside, "" for a detached HEAD.
        name: The branch that the person asks for, "" for none.

    Raises:
        TransferError: The name is refused.
    """
    if name:
        if not _is_safe(name):
            raise TransferError(f"--as {printable(name[:_SHOWN])!r} is not a name for a branch", remedy=_RULE)
        return name
    if not _is_safe(branch or DETACHED):
        raise TransferError(
            f"its branch has a name that no branch of this machine gets: {printable(branch[:_SHOWN])!r}",
            where=habitat,
            remedy="--as BRANCH gives it another",
        )
    result = f"habitat/{habitat}/{branch or DETACHED}"
    if not _is_safe(result):
        raise TransferError(f"git accepts no branch {result}", where=habitat, remedy="--as BRANCH gives it another")
    return result


_RULE = f"use up to {_MOST_BYTES} letters and digits, with single - _ . or / between them, like agent/log-in"


def _is_safe(name: str) -> bool:
    try:
        check_ref(name)
        size = len(name.encode())
    except (GitValueError, UnicodeEncodeError):
        return False
    parts = name.split("/")
    return (
        0 < size <= _MOST_BYTES
        and len(parts) <= _MOST_PARTS
        and unicodedata.is_normalized("NFC", name)
        and all(char.isalnum() or char in _SIGNS for char in name)
        and all(map(_is_part, parts))
    )


def _is_part(part: str) -> bool:
    """Return whether a name between slashes is no option, no name of git's own, and is the same on any file system."""
    return (
        (part[:1].isalnum() or part[:1] in ("_", "#"))
        and not part.endswith(".")
        and not part.lower().endswith(".lock")
        and part.upper() not in _GITS_OWN
    )


_GITS_OWN = {"HEAD", "FETCH_HEAD", "ORIG_HEAD", "MERGE_HEAD", "CHERRY_PICK_HEAD", "REFS"}
