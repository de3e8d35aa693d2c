"""What is in a file, remembered as long as nothing tells that it was written to since."""

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

# Nanoseconds after which no write can bear the same time: twice what the coarsest file systems count in.
_SETTLED = 4_000_000_000

# Bytes of the file that remembers: far above any.
_LONGEST = 256_000_000

#: Device, inode, size, and the times of the last write and of the last change of any kind, in nanoseconds. The
#: latter can't be set by those who set a time back, as tar and git do.
State = tuple[int, int, int, int, int]


def state(info: os.stat_result) -> State:
    return (info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns)


def same_file(one: State, other: State) -> bool:
    """Whether both are states of one file, whatever was written to it."""
    return one[:2] == other[:2]


def settled(seen: State) -> bool:
    """Whether any write from now on leaves the file in another state.

    A write through a mapping of the file leaves the times alone while its page is dirty. So a state is
    only good enough to skip a look: what is copied is compared with its digest (`core.archive`).
    """
    return time.time_ns() - max(seen[3:]) > _SETTLED


def sha256_of(path: Path, seen: State) -> tuple[str, State | None]:
    """Hash the file that was `seen` at `path`.

    Returns its digest, and its state, None if the file was written to meanwhile. Raises SourceChanged if
    another file is at the path by now, and OSError.
    """
    with safe_open.open_read(path) as file:
        before = state(os.fstat(file.fileno()))
        if not same_file(before, seen):
            raise SourceChanged(path, "was replaced while it was read")
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        after = state(os.fstat(file.fileno()))
    return digest, after if before == after else None


class Digests:
    """Remembers in the file `path`, which may be gone or wrong: then contents are looked at again."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[str, tuple[State, str]] | None = None
        self._used: dict[str, tuple[State, str]] = {}

    def sha256(self, path: Path, now: State) -> str:
        """Of the file at `path`, whose state is `now`. Raises SourceChanged, and OSError."""
        key = os.fspath(path)
        known = self._used.get(key) or self._remembered().get(key)
        if known and known[0] == now:
            self._used[key] = known
            return known[1]
        digest, after = sha256_of(path, now)
        if after and settled(after):
            self._used[key] = (after, digest)
        return digest

    def forget(self, path: Path) -> None:
        """Look at the file again the next time: its content turned out to be another. Raises StateError."""
        key = os.fspath(path)
        if self._used.pop(key, None):
            self.save()

    def _remembered(self) -> dict[str, tuple[State, str]]:
        if self._known is None:
            try:
                rows = json.loads(safe_open.read(self._path, _LONGEST) or b"{}")
                self._known = {path: (tuple(seen), digest) for path, (*seen, digest) in rows.items()}
            except (OSError, ValueError, TypeError, AttributeError):
                self._known = {}
        return self._known

    def save(self) -> None:
        """Remember what was asked for, and nothing else. Raises StateError."""
        if self._used != self._remembered():
            rows = {path: [*seen, digest] for path, (seen, digest) in self._used.items()}
            atomic.write_if_changed(self._path, json.dumps(rows, separators=(",", ":")).encode())
            self._known = dict(self._used)
