"""Compares three trees: what a workspace came from, what the new image has, and the workspace itself.

A path that a person hasn't changed follows the image. One that both have changed stays.
"""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

from msgspec import Struct, field

from phases.core.config.mounts.mountable_paths import within
from phases.core.errors import printable
from phases.core.runtime.workspace.trees import is_same

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from phases.core.runtime.workspace.trees import FileEntry, WorkspaceTree

# Bytes of a file that is read for its hash.
_LARGEST_HASHED = 16 << 20

#: The hashes of files, by path.
Hashes = dict[str, str]


class Changes(Struct):
    """The changes that a workspace needs.

    Attributes:
        delete: Files that the image no longer has.
        rmdir: Such folders, which stay if they have something in them.
        mkdir: New folders.
        copy: Files, links and whole repositories to copy from the image.
        attributes: Folders that get the image's mode and owner.
        kept: Paths that were changed in the workspace and in the image, and stay.
    """

    delete: list[str] = field(default_factory=list)
    rmdir: list[str] = field(default_factory=list)
    mkdir: list[str] = field(default_factory=list)
    copy: list[str] = field(default_factory=list)
    attributes: dict[str, FileEntry] = field(default_factory=dict)
    kept: list[str] = field(default_factory=list)

    @property
    def followed(self) -> list[str]:
        """The paths that a person would notice."""
        return sorted({*self.copy, *self.delete, *self.mkdir})


class Comparison:
    """Three trees.

    Args:
        base: What the workspace was filled or synchronized from; an empty tree if that isn't known.
        image: What the new image has.
        workspace: What the workspace has.
    """

    def __init__(self, base: WorkspaceTree, image: WorkspaceTree, workspace: WorkspaceTree) -> None:
        self._repositories = {*base.repositories, *image.repositories, *workspace.repositories}
        self._base = base.outside(self._repositories)
        self._image = image.outside(self._repositories)
        self._workspace = workspace.outside(self._repositories)
        self._trees = (base, image, workspace)
        self._hashes: tuple[Hashes, Hashes, Hashes] = ({}, {}, {})
        self._new_folders: set[str] = set()

    def doubtful_in_images(self) -> list[str]:
        """Return the files of both images that only a hash tells apart."""
        return [path for path, entry in self._image.items() if _is_doubtful(entry, self._base.get(path))]

    def learn_images(self, base: Hashes, image: Hashes) -> None:
        self._hashes[0].update(base)
        self._hashes[1].update(image)

    def doubtful_in_workspace(self) -> list[str]:
        """Return the files that are about to be replaced or deleted, unless a hash shows that a person changed one."""
        changed = [path for path in {*self._base, *self._image} if not self._image_is_as_before(path)]
        return sorted(path for path in changed if _is_hashed(self._workspace.get(path)))

    def files_of_base(self, paths: Iterable[str]) -> list[str]:
        """Return which of some paths are files in the image before."""
        return [path for path in paths if _is_hashed(self._base.get(path))]

    def files_of_image(self, paths: Iterable[str]) -> list[str]:
        """Return which of some paths are files in the new image."""
        return [path for path in paths if _is_hashed(self._image.get(path))]

    def learn(self, base: Hashes, image: Hashes, workspace: Hashes) -> None:
        for known, new in zip(self._hashes, (base, image, workspace), strict=True):
            known.update(new)

    def changes(self) -> Changes:
        """Return what is to be done."""
        changes = Changes()
        for path in sorted({*self._base, *self._image}):
            now, wanted = self._workspace.get(path), self._image.get(path)
            if self._image_is_as_before(path) or is_same(now, wanted, self._pair(path, 2, 1)):
                continue
            if is_same(now, self._base.get(path), self._pair(path, 2, 0)):
                self._follow(changes, path, now, wanted)
            elif not (now and wanted and now.kind == wanted.kind == "dir"):
                changes.kept.append(path)
        self._add_repositories(changes)
        changes.rmdir.sort(key=lambda path: -path.count("/"))
        return changes

    def _image_is_as_before(self, path: str) -> bool:
        return is_same(self._base.get(path), self._image.get(path), self._pair(path, 0, 1))

    def _pair(self, path: str, one: int, other: int) -> tuple[str, str]:
        return self._hashes[one].get(path, ""), self._hashes[other].get(path, "")

    def _follow(self, changes: Changes, path: str, now: FileEntry | None, wanted: FileEntry | None) -> None:
        is_folder = bool(now and now.kind == "dir")
        if wanted is None:
            (changes.rmdir if is_folder else changes.delete).append(path)
        elif wanted.kind == "dir" and is_folder:
            changes.attributes[path] = wanted
        elif not self._has_place(path) or (is_folder and self._has_more(path)):
            changes.kept.append(path)
        elif wanted.kind == "dir":
            changes.delete += [path] if now else []
            changes.mkdir.append(path)
            self._new_folders.add(path)
            changes.attributes[path] = wanted
        else:
            changes.rmdir += [path] if is_folder else []
            changes.copy.append(path)

    def _has_place(self, path: str) -> bool:
        """Return whether the folder of a path is one in the workspace, and no link out of it."""
        parent = posixpath.dirname(path)
        entry = self._workspace.get(parent)
        return path == "." or parent in self._new_folders or bool(entry and entry.kind == "dir")

    def _has_more(self, folder: str) -> bool:
        """Return whether a folder of the workspace has something that the images don't know, or that was changed."""
        below = [path for path in self._workspace if path != folder and within(path, folder)]
        return any(
            path in self._image or not is_same(self._workspace[path], self._base.get(path), self._pair(path, 2, 0))
            for path in below
        ) or any(within(repository, folder) for repository in self._trees[2].repositories)

    def _add_repositories(self, changes: Changes) -> None:
        """Copy the repositories that are new in the image. Git decides about the others."""
        base, image, workspace = self._trees
        for path in sorted({*image.repositories} - {*base.repositories, *workspace.repositories}):
            if any(within(path, other) for other in changes.copy):
                continue
            if path in workspace.entries or not self._has_place(path):
                changes.kept.append(path)
            else:
                changes.copy.append(path)


def _is_hashed(entry: FileEntry | None) -> bool:
    """Return whether the content of a path counts. A larger file is the same if its size and time are."""
    return entry is not None and entry.kind == "file" and entry.size <= _LARGEST_HASHED


def _is_doubtful(one: FileEntry, other: FileEntry | None) -> bool:
    return (
        other is not None
        and _is_hashed(one)
        and _is_hashed(other)
        and one.size == other.size
        and one.mtime != other.mtime
    )


def shown(paths: Iterable[str], most: int = 3) -> str:
    """Return some paths for a message, without the dot at their beginning."""
    names = [printable(path.removeprefix("./")) for path in paths]
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def lists(changes: Changes) -> Mapping[str, list[str]]:
    """Return the lists of `apply.sh`, by their names."""
    attributes = [f"{entry.mode:o} {entry.uid}:{entry.gid} {path}" for path, entry in changes.attributes.items()]
    return {
        "delete": changes.delete,
        "rmdir": changes.rmdir,
        "mkdir": changes.mkdir,
        "copy": changes.copy,
        "attributes": attributes,
    }
