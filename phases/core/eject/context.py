"""The files that a Dockerfile is built from."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from phases.core.files.tree import Item
    from phases.protocol import Entry

# Names that every version of the builder, git and an editor take as they are.
_PLAIN = re.compile(r"[^\W_][\w .,:@%+=~#()\[\]{}!&;^-]*|[._][\w .,:@%+=~#()-]*")

# Names that a mount takes as they are.
_IN_A_MOUNT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")

#: What could not lie in a folder as it is: names that are no text, and folders with nothing in them, of
#: which git takes none. The builder unpacks it.
ARCHIVE = "odd.tar"

#: Copied files, and scripts of the config, each below a name of its step.
FILES, COMMANDS = "files", "commands"


@dataclass(frozen=True)
class File:
    """One path of the context. source: of a file's content, else `content` itself; sha256: of what the source is
    to hold, "" for anything.
    """

    path: str
    kind: Literal["file", "dir", "link"] = "file"
    mode: int = 0o644
    source: Path | None = None
    content: bytes = b""
    target: str = ""
    sha256: str = ""


@dataclass(frozen=True)
class Copied:
    """Entries of one owner that are a tree. entries: the root of it first; mode, folder_mode: of all its
    files and folders, 0 for a file's own and the usual one.
    """

    entries: Sequence[Entry]
    mode: int = 0
    folder_mode: int = 0

    @property
    def root(self) -> Entry:
        return self.entries[0]


class Context:
    """files: what lies in the context as it is; archived: what does so in an archive."""

    def __init__(self) -> None:
        self.files: list[File] = []
        self.archived: list[File] = []

    def script(self, name: str, text: str) -> str:
        """A script of the config. Returns where the builder finds it."""
        path = f"{COMMANDS}/{name}.sh"
        # Executable, as what a person may be told to run; only its text is used.
        self.files.append(File(path, mode=0o755, content=text.encode()))
        return path

    def tree(self, name: str, copied: Copied) -> str:
        """A tree's content. Returns where the builder finds it, "" for a folder with nothing in it."""
        root = copied.root
        if root.kind == "dir" and len(copied.entries) == 1:
            return ""
        place = f"{FILES}/{name}"
        if root.kind != "dir":
            base = root.dest.rpartition("/")[2]
            place = f"{place}/{base if _IN_A_MOUNT.fullmatch(base) else 'file'}"
        found = [self._file(entry, place + entry.dest[len(root.dest.rstrip("/")) :]) for entry in copied.entries[1:]]
        found.insert(0, self._file(root, place))
        (self.files if _lies_well(found) else self.archived).extend(found)
        return place

    @staticmethod
    def _file(entry: Entry, path: str) -> File:
        executable = entry.kind == "dir" or entry.mode & 0o111
        mode = 0o755 if executable else 0o644
        place = path.replace("//", "/")
        return File(place, entry.kind, mode, entry.source, entry.content, entry.target, entry.sha256)

    def below(self, folder: str, items: Iterable[Item], *, archive: bool) -> None:
        """Another context, as a folder of this one. archive: whether that is as good, where it has to be."""
        found = [
            File(
                f"{folder}/{item.path}".rstrip("/"),
                item.kind,
                item.mode,
                item.source,
                target=item.target,
                sha256=item.sha256,
            )
            for item in items
        ]
        (self.archived if archive and not _lies_well(found) else self.files).extend(found)


def _lies_well(found: Sequence[File]) -> bool:
    parents = {file.path.rpartition("/")[0] for file in found}
    return all(
        all(_PLAIN.fullmatch(part) and part.isprintable() for part in file.path.split("/"))
        and file.target.isprintable()
        and (file.kind != "dir" or file.path in parents)
        for file in found
    )


def trees(entries: Sequence[Entry]) -> list[Copied]:
    """What a step puts in, cut into trees of one owner whose modes can be told in a word."""
    found: list[Copied] = []
    rest = list(entries)
    while rest:
        root = rest[0]
        below = root.dest.rstrip("/") + "/"
        count = 1
        if root.kind == "dir" and not root.adopt:
            while count < len(rest) and rest[count].dest.startswith(below) and _alike(root, rest[count]):
                count += 1
        tree, rest = rest[:count], rest[count:]
        whole = _copied(tree)
        found += [whole] if whole else [copied for entry in tree if (copied := _copied([entry]))]
    return found


def _alike(root: Entry, entry: Entry) -> bool:
    return entry.owner == root.owner and not entry.adopt


def _copied(tree: Sequence[Entry]) -> Copied | None:
    """The tree with its modes, None where those differ from file to file."""
    files = {entry.mode for entry in tree if entry.kind == "file"}
    folders = {entry.mode for entry in tree if entry.kind == "dir"}
    if files <= {0o644, 0o755} and folders <= {0o755}:
        return Copied(tree)
    if len(files) < 2 and len(folders) < 2:
        return Copied(tree, *(files or {0o644}), *(folders or {0o755}))
    return None
