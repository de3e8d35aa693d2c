"""Warnings about folders of this machine in which a habitat works: whose they are, and whether git works there."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from phases.core.config.mounts.mountable_paths import within
from phases.core.errors import printable
from phases.core.files import safe_open

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from phases.core.model import Habitat, Mount

# The most bytes of a .git file. A path has 4096 at most.
_MAX_BYTES = 8192


def warnings(habitat: Habitat, uid: int, *, same_numbers: bool = True) -> list[str]:
    """Return the warnings about a habitat's volumes.

    Args:
        habitat: The habitat.
        uid: The number of USER in its container.
        same_numbers: Whether a number is the same user in the container and on this machine.
    """
    writable = [volume for volume in habitat.volumes if volume.present and not volume.readonly and same_numbers]
    return [*filter(None, (_owner_warning(habitat, volume, uid) for volume in writable)), *_worktree_warnings(habitat)]


def _owner_warning(habitat: Habitat, volume: Mount, uid: int) -> str:
    """Return that USER and the owner of a folder can't write each other's files, "" if they can."""
    if habitat.user_ids and not habitat.user_ids.uid:
        return ""  # `uid.uid_warning` says it
    try:
        info = volume.source.stat()
    except OSError:
        return ""
    if not stat.S_ISDIR(info.st_mode) or info.st_uid == uid or info.st_mode & stat.S_IWOTH:
        return ""
    place = f"{volume.origin}: {volume.shown}"
    if uid == 0:
        return (
            f"{place} belongs to the number {info.st_uid} on this machine, and what root writes there will be root's: "
            "another USER with `uid: host` gives it your number"
        )
    number = "host" if info.st_uid == os.getuid() != 0 else str(info.st_uid)
    roots = "give the folder to a user, and write `uid:` with that number"
    remedy = f"`uid: {number}` makes them one" if info.st_uid else roots
    return (
        f"{place} belongs to the number {info.st_uid} on this machine, and {habitat.user} is {uid} in the habitat, so "
        f"neither can write the other's files: {remedy}"
    )


def _worktree_warnings(habitat: Habitat) -> Iterator[str]:
    """Yield a warning for each folder whose git repository is elsewhere, and not mounted at the same path."""
    for volume in habitat.volumes:
        if not volume.present or not (common := _common_folder(volume.source)) or within(common, str(volume.source)):
            continue
        if any(within(common, str(other.source)) and other.dest == str(other.source) for other in habitat.volumes):
            continue
        shown = printable(common)
        yield (
            f"{volume.origin}: {volume.shown} is a work tree of the repository {shown}, which is not mounted, so git "
            f"doesn't work in it: `repos: [{{url: {volume.shown}, path: …}}]` clones it; or mount {shown} at the same "
            "path, but then the habitat can write hooks there, which git on this machine runs"
        )


def _common_folder(folder: Path) -> str:
    """Return the folder of the repository that the .git file of a folder names, "" if it has no such file.

    A habitat may have written the file.
    """
    path = folder / ".git"
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            return ""
        text = (safe_open.read(path, _MAX_BYTES) or b"").decode(errors="replace")
    except (OSError, ValueError):
        return ""
    word, _, target = text.strip().partition("gitdir: ")
    if word or not target or "\n" in target:
        return ""
    place = os.path.normpath(folder / target)
    parent = os.path.dirname(place)  # noqa: PTH120 (a text, that may lead anywhere)
    return os.path.dirname(parent) if os.path.basename(parent) == "worktrees" else place  # noqa: PTH119, PTH120
