"""A habitat's folder, as `docker build` and as the habitat's phases copy it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from phases.core.copied_files import BEFORE_MIGRATION, NOT_IN_PHASE_6
from phases.core.files import tree
from phases.core.files.dockerignore import dockerignore
from phases.core.files.ignore import TOOL_FOLDERS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from phases.core.files.ignore import Ignore
    from phases.core.files.tree import Item

# Files for the habitat itself, which `COPY .` would take along.
_OURS = ("config.yaml", BEFORE_MIGRATION, "Dockerfile", "Dockerfile.rest", ".dockerignore", ".habignore")


@dataclass(frozen=True)
class HabitatFolder:
    """A habitat's folder.

    Attributes:
        rules: Returns, for a folder, what `.habignore` and the program's defaults leave out of a copy.
    """

    path: Path
    rules: Callable[[Path], Ignore]

    @cached_property
    def docker(self) -> Mapping[str, Item]:
        """What `docker build` copies, without the files for the habitat itself."""
        ignore = dockerignore(self.path).also(*(f"/{name}" for name in _OURS))
        return {item.path: item for item in tree.walk(self.path, ignore) if item.path not in _OURS}

    @cached_property
    def local(self) -> Mapping[str, Item]:
        """What the habitat has at $LOCAL_PATH."""
        ignore = self.rules(self.path).also(*TOOL_FOLDERS, *NOT_IN_PHASE_6).also_by(dockerignore(self.path))
        return {item.path: item for item in tree.walk(self.path, ignore) if item.path not in _OURS}

    def below(self, path: str) -> dict[str, Item]:
        """Return what `docker build` copies of a folder, by the path in it."""
        return _below(self.docker, path)

    def is_same_in_files(self, path: str) -> bool:
        """Return whether phase files copies the same of a folder as `docker build`."""
        place = self.path / path
        copied = {item.path: item.mode for item in tree.walk(place, self.rules(place)) if item.path}
        return {name: item.mode for name, item in self.below(path).items()} == copied

    def is_same_at_local_path(self, path: str) -> bool:
        """Return whether $LOCAL_PATH has the same at a path as `docker build` copies."""
        return path in self.local and self.below(path).keys() == _below(self.local, path).keys()

    def missing_at_local_path(self, path: str) -> str:
        """Return the first file that `docker build` copies and $LOCAL_PATH lacks, or the first that it has besides."""
        copied = {path, *(f"{path}/{name}".lstrip("/") for name in self.below(path))}
        present = {path, *(f"{path}/{name}".lstrip("/") for name in _below(self.local, path))} & self.local.keys()
        return min(copied - present, default=min(present - copied, default=path))


def _below(items: Mapping[str, Item], path: str) -> dict[str, Item]:
    prefix = f"{path}/" if path else ""
    return {name.removeprefix(prefix): item for name, item in items.items() if name and name.startswith(prefix)}
