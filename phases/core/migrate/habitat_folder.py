"""A habitat's folder: its config.yaml and Dockerfile, and what `docker build` and the habitat's phases copy of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from phases.core import layout
from phases.core.config import edit, older_form, yaml_tree
from phases.core.copied_files import DOCKERFILE_REST, MIGRATION_BACKUPS, NOT_IN_PHASE_6
from phases.core.errors import ConfigError
from phases.core.files import safe_open, tree
from phases.core.files.dockerignore import dockerignore
from phases.core.files.ignore import TOOL_FOLDERS, Ignore
from phases.core.migrate.older_form.convert import convert

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from phases.core.files.tree import Item
    from phases.core.migrate.older_form.convert import Converted
    from phases.core.project import Project

# Bytes of a config.yaml or a Dockerfile.
_MOST = 1_000_000

# Files for the habitat itself, which `COPY .` would take along.
_OURS = (
    *("/config.yaml", "/Dockerfile", f"/{DOCKERFILE_REST}", "/.dockerignore", "/.habignore"),
    *MIGRATION_BACKUPS,
)


_is_ours = Ignore().also(*_OURS)


class HabitatFiles:
    """A habitat's config.yaml and Dockerfile."""

    def __init__(self, project: Project, name: str) -> None:
        self.folder = layout.habitat_folder(project.root, name)
        self.shown = str(self.folder.relative_to(project.root))
        path, shown = self.folder / "config.yaml", f"{self.shown}/config.yaml"
        self.config = self._read("config.yaml")
        # A build reads it in this way, so migrate refuses what a build refuses.
        tree = yaml_tree.load(path, layer="local", shown=shown)
        self.is_older = bool(older_form.keys(tree))
        self.document = edit.document((self.config or b"").decode(), shown)
        self.has_dockerfile = (self.folder / "Dockerfile").is_file()
        self.converts = self.has_dockerfile and "dockerfile" not in self.document

    def _read(self, name: str) -> bytes | None:
        try:
            return safe_open.read(self.folder / name, _MOST)
        except OSError as error:
            problem = f"can't be read ({error.strerror})"
            raise ConfigError(problem, where=f"{self.shown}/{name}", remedy="check that it is a file") from error

    @property
    def rest(self) -> bytes | None:
        """The bytes of Dockerfile.rest. Raises ConfigError."""
        return self._read(DOCKERFILE_REST)

    def check_config(self) -> None:
        """Check that there is a config.yaml. Raises ConfigError."""
        if self.config is None:
            raise ConfigError("has neither config.yaml nor Dockerfile", where=self.shown, remedy="add one of them")

    def convert_older_form(self) -> Converted:
        """Convert the config from the form of claude-habitat. `document` is the new one then."""
        shown = f"{self.shown}/config.yaml"
        converted = convert((self.config or b"").decode(), shown, is_local=True)
        self.document = edit.document(converted.text, shown)
        self.converts = self.has_dockerfile and "dockerfile" not in self.document
        return converted


@dataclass(frozen=True)
class HabitatFolder:
    """The files in a habitat's folder that a Dockerfile can copy.

    Attributes:
        rules: Returns, for a folder, what `.habignore` and the program's defaults leave out of a copy.
    """

    path: Path
    rules: Callable[[Path], Ignore]

    @cached_property
    def docker(self) -> Mapping[str, Item]:
        """The files that `docker build` copies, without the files for the habitat itself."""
        ignore = dockerignore(self.path).also(*_OURS)
        return {item.path: item for item in tree.walk(self.path, ignore) if not _is_ours(item.path)}

    @cached_property
    def local(self) -> Mapping[str, Item]:
        """The files that the habitat has at $LOCAL_PATH."""
        ignore = self.rules(self.path).also(*TOOL_FOLDERS, *NOT_IN_PHASE_6).also_by(dockerignore(self.path))
        return {item.path: item for item in tree.walk(self.path, ignore) if not _is_ours(item.path)}

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
