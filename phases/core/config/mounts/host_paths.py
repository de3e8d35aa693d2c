"""Resolve paths of the host without trusting a link that an agent could have made."""

from __future__ import annotations

import os
import re
import stat
from collections import defaultdict, deque
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from phases.core.files.safe_open import MAX_LINKS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_MOUNTS = Path("/proc/self/mountinfo")

# A space, a tab, a newline and a backslash in a path of that file.
_ESCAPED = re.compile(rb"\\([0-7]{3})")


class PathEntry(Struct, frozen=True):
    """A name on the way to a file.

    Attributes:
        path: Its path, without a link above it.
        target: The target if it is a link, else "".
    """

    path: Path
    target: str = ""


def walk_path(path: Path, trusted: Iterable[Path] = ()) -> Iterator[PathEntry]:
    """Yield each name on the way to a path, in the order in which the kernel looks them up, through links.

    Args:
        path: An absolute path.
        trusted: Folders whose own path needs no check: the way begins where the longest of them leads.

    Yields:
        Each name, up to the first one that is missing.

    Raises:
        OSError: A name can't be looked up, or there are too many links.

    """
    here, names = _begin(path, trusted)
    links = 0
    while names:
        name = names.popleft()
        here = here.parent if name == ".." else here / name
        if name == "..":
            continue
        try:
            is_link = stat.S_ISLNK(here.lstat().st_mode)
        except (FileNotFoundError, NotADirectoryError):
            yield PathEntry(here)
            return
        if not is_link:
            yield PathEntry(here)
            continue
        target = str(here.readlink())
        yield PathEntry(here, target)
        links += 1
        if links > MAX_LINKS:
            raise OSError(f"more than {MAX_LINKS} links")
        names.extendleft(reversed(_names(target)))
        here = Path("/") if target.startswith("/") else here.parent


def _begin(path: Path, trusted: Iterable[Path]) -> tuple[Path, deque[str]]:
    """Return the folder to begin in and the names behind it. Links make `..` ambiguous, so no path is normalized."""
    above = [folder for folder in trusted if path.is_relative_to(folder)]
    if not above:
        return Path("/"), deque(_names(str(path)))
    longest = max(above, key=lambda folder: len(folder.parts))
    return longest.resolve(), deque(_names(str(path.relative_to(longest))))


def _names(text: str) -> list[str]:
    return [name for name in text.split("/") if name not in ("", ".")]


def untrusted_link(path: Path, trusted: Iterable[Path], own: Callable[[Path], bool]) -> PathEntry | None:
    """Return the first link on the way to `path` that an agent could have made, None if there is none.

    Args:
        path: An absolute path.
        trusted: As of `walk_path`.
        own: Whether a folder is one that the person works in. A link of root is suspect there too, since an agent may
            be root in its container.

    Raises:
        OSError: A name can't be looked up.

    """
    for entry in walk_path(path, trusted):
        if entry.target and not _is_system_folder(entry.path.parent, own):
            return entry
    return None


def _is_system_folder(folder: Path, own: Callable[[Path], bool]) -> bool:
    info = folder.stat()
    return info.st_uid == 0 and not info.st_mode & 0o022 and not own(folder)


def pin(path: Path) -> tuple[int, int] | None:
    """Return device and inode of a path without `..`; None if nothing is there, or a link is on the way."""
    try:
        infos = [place.lstat() for place in (*reversed(path.parents), path)]
    except OSError:
        return None
    return None if any(stat.S_ISLNK(info.st_mode) for info in infos) else (infos[-1].st_dev, infos[-1].st_ino)


class HostMount(Struct, frozen=True):
    """A mount of this machine.

    Attributes:
        device: The file system.
        top: The folder of the file system that is mounted.
        at: The mount point.
    """

    device: bytes
    top: str
    at: str


class MountTable:
    """The mounts of this machine, through which one folder may have several paths."""

    def __init__(self) -> None:
        self._at: dict[str, HostMount] = {}
        try:
            rows = _MOUNTS.read_bytes().splitlines()
        except OSError:  # not on Linux
            rows = []
        for row in rows:
            _, _, device, top, at, *_ = row.split()
            mount = HostMount(device, _unescaped(top), _unescaped(at))
            self._at[mount.at] = mount  # a later mount hides an earlier one
        self._of: defaultdict[bytes, list[HostMount]] = defaultdict(list)
        for mount in self._at.values():
            self._of[mount.device].append(mount)

    def all_paths(self, place: Path) -> list[Path]:
        """Return all paths of a file or folder, `place` first, which has no link in it."""
        text = str(place)
        folder = text
        while folder not in self._at and folder != "/":
            folder = folder.rpartition("/")[0] or "/"
        mount = self._at.get(folder)
        others = self._of[mount.device] if mount else []
        if mount is None or len(others) == 1:
            return [place]
        inside = _joined(mount.top, text[len(folder) :])
        paths = [Path(_joined(m.at, inside[len(m.top.rstrip("/")) :])) for m in others if _within(inside, m.top)]
        return [place, *(path for path in dict.fromkeys(paths) if path != place and _is_same(path, place))]


def _joined(folder: str, rest: str) -> str:
    return f"{folder.rstrip('/')}/{rest.lstrip('/')}".rstrip("/") or "/"


def _within(path: str, folder: str) -> bool:
    return f"{path}/".startswith(f"{folder.rstrip('/')}/")


def within(path: Path, folder: Path) -> bool:
    """Return whether `path` is `folder` or below it. Path.is_relative_to takes ten times as long."""
    return _within(str(path), str(folder))


def _unescaped(field: bytes) -> str:
    return os.fsdecode(_ESCAPED.sub(lambda match: bytes([int(match[1], 8)]), field))


def _is_same(one: Path, other: Path) -> bool:
    """Return whether both are one file. They are not if another mount hides one."""
    try:
        return one.samefile(other)
    except OSError:
        return False
