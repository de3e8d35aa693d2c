"""The sha256 of files, remembered until a file's size, times or inode change."""

from __future__ import annotations

import hashlib
import json
import os
import time
from typing import TYPE_CHECKING

from phases.core.errors import SourceChanged
from phases.core.files import atomic, safe_open

if TYPE_CHECKING:
    from pathlib import Path

# Nanoseconds after which a write gets another time stamp on every file system: twice the coarsest resolution.
_SETTLED = 4_000_000_000

# Bytes of the file that holds the digests: far above any.
_MAX_BYTES = 256_000_000

#: Device, inode, size, mtime and ctime of a file, the times in nanoseconds. tar and git set an mtime back,
#: but no program sets a ctime.
State = tuple[int, int, int, int, int]


def state(info: os.stat_result) -> State:
    """Return what of a file's status changes when it is written to."""
    return (info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns)


def same_file(one: State, other: State) -> bool:
    """Return whether both are states of one file, written to or not."""
    return one[:2] == other[:2]


def settled(seen: State) -> bool:
    """Return whether every write from now on changes the state.

    A write to a memory-mapped file does not change the times while its page is dirty. So an equal state is good enough
    not to read a file, but a copied file is compared with its digest (`files.tar`).
    """
    return time.time_ns() - max(seen[3:]) > _SETTLED


def sha256_of(path: Path, seen: State) -> tuple[str, State | None]:
    """Hash a file.

    Args:
        path: The file.
        seen: Its state when the caller met it.

    Returns:
        The sha256, and the state of the file, None if it was written to meanwhile.

    Raises:
        SourceChanged: Another file is at the path.
        OSError: The file can't be read.

    """
    with safe_open.open_read(path) as file:
        before = state(os.fstat(file.fileno()))
        if not same_file(before, seen):
            raise SourceChanged(path, "was replaced while it was read")
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        after = state(os.fstat(file.fileno()))
    return digest, after if before == after else None


class Digests:
    """Digests of files, saved between runs in the file `path`. If that is missing or damaged, files are read again."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[str, tuple[State, str]] | None = None
        self._used: dict[str, tuple[State, str]] = {}

    def sha256(self, path: Path, now: State) -> str:
        """Return the sha256 of the file at `path`, whose state is `now`. Raises SourceChanged and OSError."""
        key = os.fspath(path)
        known = self._used.get(key) or self._saved().get(key)
        if known and known[0] == now:
            self._used[key] = known
            return known[1]
        digest, after = sha256_of(path, now)
        if after and settled(after):
            self._used[key] = (after, digest)
        return digest

    def forget(self, path: Path) -> None:
        """Remove a digest that the file's content did not match, so that the next run reads it. Raises StateError."""
        key = os.fspath(path)
        if self._used.pop(key, None):
            self.save()

    def _saved(self) -> dict[str, tuple[State, str]]:
        if self._known is None:
            try:
                rows = json.loads(safe_open.read(self._path, _MAX_BYTES) or b"{}")
                self._known = {path: (tuple(seen), digest) for path, (*seen, digest) in rows.items()}
            except (OSError, ValueError, TypeError, AttributeError):
                self._known = {}
        return self._known

    def save(self) -> None:
        """Save the digests that this run used, and no others. Raises StateError."""
        if self._used != self._saved():
            rows = {path: [*seen, digest] for path, (seen, digest) in self._used.items()}
            atomic.write_if_changed(self._path, json.dumps(rows, separators=(",", ":")).encode())
            self._known = dict(self._used)
