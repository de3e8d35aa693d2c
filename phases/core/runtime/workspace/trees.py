"""The files of a folder in a container, as `list_files.sh` lists them."""

from __future__ import annotations

import re
import stat
from typing import TYPE_CHECKING

from msgspec import Struct, field
from msgspec.structs import replace

from phases.core.config.mounts.mountable_paths import within

if TYPE_CHECKING:
    from collections.abc import Collection

_LINE = re.compile(r"([0-9a-f]+) (\d+) (\d+) (\d+) (-?\d+) (\.(?:/.+)?)")

_KINDS = {stat.S_IFREG: "file", stat.S_IFDIR: "dir", stat.S_IFLNK: "link"}


class FileEntry(Struct, frozen=True):
    """A path of a folder. kind: file, dir, link or other; target: of a link, as text that only differs if it does."""

    kind: str
    mode: int
    uid: int
    gid: int
    size: int = 0
    mtime: int = 0
    target: str = ""


class WorkspaceTree(Struct):
    """The files of a folder.

    Attributes:
        entries: What is in it, by the path, which begins with a dot. None of them is in a repository.
        repositories: The paths of its git repositories, each with the entry of its folder.
    """

    entries: dict[str, FileEntry] = field(default_factory=dict)
    repositories: dict[str, FileEntry] = field(default_factory=dict)

    @property
    def folder(self) -> FileEntry | None:
        """The folder itself."""
        return self.entries.get(".") or self.repositories.get(".")

    def outside(self, repositories: Collection[str]) -> dict[str, FileEntry]:
        """Return the entries that are in none of some repositories."""
        if not repositories:
            return self.entries
        return {
            path: entry
            for path, entry in self.entries.items()
            if not any(within(path, repository) for repository in repositories)
        }


def parse(listing: bytes) -> WorkspaceTree:
    """Return the files of a listing. What is no line of one, since a name is odd, is left out."""
    tree = WorkspaceTree()
    lines = iter(listing.decode("utf-8", "surrogateescape").split("\n"))
    repository = ""
    for line in lines:
        if line.startswith("= "):
            repository = line[2:]
            continue
        match = _LINE.fullmatch(line)
        if not match:
            continue
        mode, (uid, gid, size, mtime), path = int(match[1], 16), map(int, match.groups()[1:5]), match[6]
        kind = _KINDS.get(stat.S_IFMT(mode), "other")
        entry = FileEntry(kind, stat.S_IMODE(mode), uid, gid, size, mtime, next(lines, "") if kind == "link" else "")
        if repository:
            tree.repositories[repository] = entry
        else:
            tree.entries[path] = entry
        repository = ""
    return tree


def with_owner(tree: WorkspaceTree, before: tuple[int, int], now: tuple[int, int]) -> WorkspaceTree:
    """Return a tree with another uid and gid in the place of those of one owner."""

    def given(entry: FileEntry) -> FileEntry:
        uid = now[0] if entry.uid == before[0] else entry.uid
        return replace(entry, uid=uid, gid=now[1] if entry.gid == before[1] else entry.gid)

    return WorkspaceTree(
        {path: given(entry) for path, entry in tree.entries.items()},
        {path: given(entry) for path, entry in tree.repositories.items()},
    )


def is_same(one: FileEntry | None, other: FileEntry | None, hashes: tuple[str, str] = ("", "")) -> bool:
    """Return whether two paths have the same content, mode and owner. hashes: of files, "" for one that isn't known."""
    if one is None or other is None:
        return one is other
    if (one.kind, one.mode, one.uid, one.gid) != (other.kind, other.mode, other.uid, other.gid):
        return False
    if one.kind == "link":
        return one.target == other.target
    if one.kind == "file":
        return one.size == other.size and (hashes[0] == hashes[1] if all(hashes) else one.mtime == other.mtime)
    return True
