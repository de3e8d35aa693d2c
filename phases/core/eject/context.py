"""The files that an ejected Dockerfile is built from."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from phases.core.files.tree import Item
    from phases.protocol import Entry

# Names that every version of the builder, git and an editor can handle.
_PLAIN = re.compile(r"[^\W_][\w .,:@%+=~#()\[\]{}!&;^-]*|[._][\w .,:@%+=~#()-]*")

# Names that a mount can handle.
_IN_A_MOUNT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")

# The modes of files that git keeps. Whether the group may write depends on the umask of a clone.
_MODES_IN_GIT, _GROUP_WRITE = (0o644, 0o755), 0o020

#: An archive that the builder unpacks, with what a folder in git can't hold: unprintable names, empty folders,
#: other modes than those of git.
ARCHIVE = "odd.tar"

#: The folders with copied files and with scripts of the config, each below the name of its step.
FILES, COMMANDS = "files", "commands"


@dataclass(frozen=True)
class ContextFile:
    """A file, folder or link of the context.

    Attributes:
        source: The file with its content, None where that is `content`.
        sha256: The digest that the source must have, "" for any.
    """

    path: str
    kind: Literal["file", "dir", "link"] = "file"
    mode: int = 0o644
    source: Path | None = None
    content: bytes = b""
    target: str = ""
    sha256: str = ""


@dataclass(frozen=True)
class FileTree:
    """Entries with one owner that are a tree.

    Attributes:
        entries: The entries, with the root of the tree first.
        mode: The mode of all files, 0 for each one's own.
        folder_mode: The mode of all folders, 0 for the usual one.
    """

    entries: Sequence[Entry]
    mode: int = 0
    folder_mode: int = 0

    @property
    def root(self) -> Entry:
        """The file or folder at the top."""
        return self.entries[0]


class BuildContext:
    """Collects the files of the context.

    Attributes:
        files: Those that lie in the folder.
        archived: Those that have to lie in `ARCHIVE`.
    """

    def __init__(self) -> None:
        self.files: list[ContextFile] = []
        self.archived: list[ContextFile] = []

    def add_script(self, name: str, text: str) -> str:
        """Add a script of the config.

        Returns:
            Its path in the context.
        """
        path = f"{COMMANDS}/{name}.sh"
        # The build reads its text only. It is executable for a person who wants to run it.
        self.files.append(ContextFile(path, mode=0o755, content=text.encode()))
        return path

    def add_tree(self, name: str, tree: FileTree) -> str:
        """Add the content of a tree.

        Returns:
            Its path in the context, "" for an empty folder.
        """
        root = tree.root
        if root.kind == "dir" and len(tree.entries) == 1:
            return ""
        place = f"{FILES}/{name}"
        if root.kind != "dir":
            base = root.dest.rpartition("/")[2]
            place = f"{place}/{base if _IN_A_MOUNT.fullmatch(base) else 'file'}"
        prefix = len(root.dest.rstrip("/"))
        self._add([_file(root, place), *(_file(entry, place + entry.dest[prefix:]) for entry in tree.entries[1:])])
        return place

    def add_folder(self, folder: str, items: Iterable[Item], *, can_archive: bool) -> None:
        """Add another context as a folder of this one."""
        files = [
            ContextFile(
                f"{folder}/{item.path}".rstrip("/"),
                item.kind,
                item.mode,
                item.source,
                target=item.target,
                sha256=item.sha256,
            )
            for item in items
        ]
        self._add(files, can_archive=can_archive)

    def _add(self, files: Sequence[ContextFile], *, can_archive: bool = True) -> None:
        (self.archived if can_archive and not _are_plain(files) else self.files).extend(files)


def _file(entry: Entry, path: str) -> ContextFile:
    is_executable = entry.kind == "dir" or entry.mode & 0o111
    mode = 0o755 if is_executable else 0o644
    return ContextFile(
        path.replace("//", "/"), entry.kind, mode, entry.source, entry.content, entry.target, entry.sha256
    )


def _are_plain(files: Sequence[ContextFile]) -> bool:
    """Return whether a folder in git can hold the files as they are. git keeps no mode but that of an executable."""
    parents = {file.path.rpartition("/")[0] for file in files}
    return all(
        all(_PLAIN.fullmatch(part) and part.isprintable() for part in file.path.split("/"))
        and file.target.isprintable()
        and (file.kind == "link" or file.mode & ~_GROUP_WRITE in _MODES_IN_GIT)
        and (file.kind != "dir" or file.path in parents)
        for file in files
    )


def file_trees(entries: Sequence[Entry]) -> list[FileTree]:
    """Split the entries of a step into trees with one owner, and one mode for their files."""
    trees: list[FileTree] = []
    rest = list(entries)
    while rest:
        root = rest[0]
        prefix = root.dest.rstrip("/") + "/"
        count = 1
        if root.kind == "dir" and not root.adopt:
            while count < len(rest) and rest[count].dest.startswith(prefix) and _are_alike(root, rest[count]):
                count += 1
        tree, rest = rest[:count], rest[count:]
        whole = _file_tree(tree)
        trees += [whole] if whole else [single for entry in tree if (single := _file_tree([entry]))]
    return trees


def _are_alike(root: Entry, entry: Entry) -> bool:
    return entry.owner == root.owner and not entry.adopt


def _file_tree(entries: Sequence[Entry]) -> FileTree | None:
    """Return the entries with their modes, None where files or folders have different ones."""
    files = {entry.mode for entry in entries if entry.kind == "file"}
    folders = {entry.mode for entry in entries if entry.kind == "dir"}
    if files <= {0o644, 0o755} and folders <= {0o755}:
        return FileTree(entries)
    if len(files) < 2 and len(folders) < 2:
        return FileTree(entries, *(files or {0o644}), *(folders or {0o755}))
    return None
