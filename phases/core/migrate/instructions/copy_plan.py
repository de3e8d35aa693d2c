"""The files that `docker build` copies for a COPY: as a whole or one by one, and which folders get a mode."""

from __future__ import annotations

import posixpath
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from phases.core.migrate.instructions.copied_path import CopiedPath
from phases.core.migrate.result import NotConvertible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from phases.core.files.tree import Item
    from phases.core.migrate.habitat_folder import HabitatFolder

#: The mode that phase files and mkdir give a new folder.
FOLDER_MODE = "0755"


@dataclass(frozen=True)
class CopyPlan:
    """Decides what is copied as a whole, and what file by file.

    Attributes:
        mode: An octal mode for all, "" for each file's own.
        is_same: Whether a folder can be copied as a whole.
        folders: Gets the mode of each folder below a copied one, by its path in the image.
    """

    folder: HabitatFolder
    owner: str
    mode: str
    is_same: Callable[[str], bool]
    folders: dict[str, str] = field(default_factory=dict)

    def paths(self, sources: Sequence[str], dest: str, *, may_go_into: bool) -> Iterator[CopiedPath]:
        """Yield what copies `sources` to `dest`, a folder if it ends in a slash. may_go_into: if it may be one."""
        for path in sources:
            item = self.folder.docker[path]
            if item.kind == "link":
                raise NotConvertible(f"docker build follows the link {path}")
            if item.kind == "file":
                is_folder = dest.endswith("/")
                place = posixpath.join(dest, posixpath.basename(path)) if is_folder else dest
                yield self._file(item, place, may_go_into=may_go_into and not is_folder)
            else:
                top = dest.rstrip("/") or "/"
                self._add_folders(path, top)
                yield from self._folder(path, top)

    def _add_folders(self, path: str, dest: str) -> None:
        folders = {name: _own_mode(item) for name, item in self.folder.below(path).items() if item.kind == "dir"}
        if folders and self.mode not in ("", "755", FOLDER_MODE):
            raise NotConvertible("its --chmod also changes folders, and a config's mode only files")
        for name, mode in folders.items():
            self.folders[posixpath.join(dest, name)] = FOLDER_MODE if self.mode else mode

    def _file(self, item: Item, dest: str, *, may_go_into: bool = False) -> CopiedPath:
        mode = self.mode or _own_mode(item)
        return CopiedPath(item.path, dest, self.owner, mode, f"{item.mode:04o}", item.kind, may_go_into)

    def _folder(self, path: str, dest: str) -> Iterator[CopiedPath]:
        below: Mapping[str, Item] = self.folder.below(path)
        files = [item for item in below.values() if item.kind != "dir"]
        has_usual_modes = all(_own_mode(item) == f"{item.mode:04o}" for item in files)
        if (has_usual_modes or self.mode) and self.is_same(path):
            yield CopiedPath(path or ".", dest, self.owner, self.mode, "", "dir")
            return
        for name, item in below.items():
            if "/" not in name:
                place = posixpath.join(dest, name)
                yield from self._folder(item.path, place) if item.kind == "dir" else [self._file(item, place)]


def _own_mode(item: Item) -> str:
    """Return a mode; a group's right to write comes from an umask and doesn't count."""
    bits = stat.S_IMODE(item.source.lstat().st_mode)
    usual = (0o755, 0o775) if item.kind == "dir" else (0o644, 0o664, 0o755, 0o775)
    if item.kind == "link" or bits in usual:
        bits = item.mode
    return f"{bits:04o}"
