"""TransferLimits of what a habitat may send, as a person writes them."""

from __future__ import annotations

from msgspec import Struct

from phases.core.commits.host_git import TransferError
from phases.core.config import units


class TransferLimits(Struct, frozen=True):
    """The limits of a transfer out of a habitat.

    Attributes:
        size: The bytes of a pack.
        seconds: The time for each command of git.
        files: The files and folders of a commit.
    """

    size: int = 1 << 30
    seconds: float = 600
    files: int = 1_000_000


def limits(size: str, time: str) -> TransferLimits:
    """Return the limits of the options --limit and --timeout. Raises TransferError."""
    try:
        most = units.size(size)
    except ValueError as error:
        raise TransferError(f"--limit {size!r} is no size", remedy="write it like 500m or 2g") from error
    try:
        seconds = units.duration(time)
    except ValueError as error:
        raise TransferError(f"--timeout {time!r} is no time", remedy="write it like 90s or 30m") from error
    return TransferLimits(most or TransferLimits().size, seconds)
