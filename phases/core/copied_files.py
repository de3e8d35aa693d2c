"""List the files of the host that a habitat's image gets: those of each layer, of `files:`, and of a Dockerfile.

Files of secrets are never among them. Every function raises ConfigError for a file that can't be read.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from phases.core.errors import ConfigError
from phases.core.files import tree
from phases.core.files.dockerignore import dockerignore, file_name
from phases.core.files.ignore import TOOL_FOLDERS, Ignore, is_one_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from phases.core.files.tree import Item
    from phases.core.model import FileCopy, Habitat, TestScript
    from phases.core.origin import ConfigLayer

#: What phase 6 leaves out of a layer's folder, since it is config or another phase uses it.
NOT_IN_PHASE_6 = ("/config.yaml", "/Dockerfile", "/tests", "/tools", "/.habignore", "/.dockerignore")

#: The Dockerfile that `habitat migrate` writes.
DOCKERFILE_REST = "Dockerfile.rest"

#: The end of the name of a file that `habitat migrate` keeps. Further copies have a number behind it.
BEFORE_MIGRATION = ".before-migration"

#: Patterns for the copies that it keeps.
MIGRATION_BACKUPS = tuple(f"/{name}{BEFORE_MIGRATION}*" for name in ("config.yaml", DOCKERFILE_REST))


def shown_dockerfile(habitat: Habitat) -> str:
    """Return the path of a habitat's Dockerfile as a person sees it."""
    return f"{habitat.layer('local').shown}/{habitat.dockerfile}"


class DockerContext(Struct, frozen=True):
    """The files from which the engine builds a Dockerfile.

    Attributes:
        items: The files and folders that COPY can copy.
        dockerfile: The Dockerfile, which COPY can't copy if a pattern names it.
        ignore_file: The file with the patterns, None for none.
    """

    items: tuple[Item, ...]
    dockerfile: Item
    ignore_file: Item | None

    def has(self, path: str) -> bool:
        """Return whether COPY can copy a path."""
        return any(item.path == path for item in self.items)

    def identity(self) -> dict[str, str]:
        """Return the identities of all files that the image depends on."""
        ignore_file = [self.ignore_file] if self.ignore_file else []
        return tree.identity(sorted({*self.items, self.dockerfile, *ignore_file}, key=lambda item: item.path))


def dockerfile_context(habitat: Habitat) -> DockerContext:
    """Return the build context of the Dockerfile: the habitat's folder, without what .dockerignore names.

    config.yaml is not part of it: a new description must not build the image again. Files keep their modes and times,
    as in `docker build`.
    """

    def ignore() -> Ignore:
        ignore = dockerignore(habitat.folder, habitat.dockerfile).also("/config.yaml", *MIGRATION_BACKUPS)
        # `habitat migrate --remove` removes the Dockerfile, and must not build the image again.
        return ignore.also("/Dockerfile") if habitat.dockerfile == DOCKERFILE_REST else ignore

    items = _tree(habitat, "context", habitat.folder, ignore, exact=True)

    def item(name: str) -> Item:
        known = next((item for item in items if item.path == name), None)
        return known or replace(_tree(habitat, "", habitat.folder / name, Ignore)[0], path=name)

    ignore_file = file_name(habitat.folder, habitat.dockerfile)
    has_ignore_file = (habitat.folder / ignore_file).is_file()
    return DockerContext(items, item(habitat.dockerfile), item(ignore_file) if has_ignore_file else None)


def layer_tree(habitat: Habitat, layer: ConfigLayer) -> tuple[Item, ...]:
    """Return what phase 6 copies of a layer's folder."""
    if not layer.folder.is_dir():
        return ()
    return _tree(habitat, "layer", layer.folder, lambda: layer_ignore(habitat, layer))


def layer_ignore(habitat: Habitat, layer: ConfigLayer, *, credentials: bool = True) -> Ignore:
    """Return the rules for what phase 6 leaves out of a layer's folder.

    Args:
        habitat: The habitat.
        layer: The layer.
        credentials: Whether the built-in patterns are to name files with credentials.
    """
    is_local = layer.role == "local"
    patterns = [*NOT_IN_PHASE_6, *MIGRATION_BACKUPS, *(_dockerfile_names(habitat) if is_local else ())]
    if layer.role == "shared":
        patterns.append("/extends")  # each is a layer of the habitats that name it
    ignore = habitat.ignore(layer, layer.folder, TOOL_FOLDERS, credentials=credentials).also(*patterns)
    # .dockerignore counts here too, also with `dockerfile: false`.
    if is_local and (habitat.has_dockerfile or not habitat.dockerfile):
        ignore = ignore.also_by(dockerignore(habitat.folder, habitat.dockerfile))
    # Volumes and what each start copies or writes change without a build, so no image contains them.
    entries = [*((file.source, file.origin) for file in habitat.entry.files)]
    entries += [(text.source, text.origin) for text in habitat.instructions if text.source]
    at_start = (source for source, origin in entries if origin.role != "personal")
    return _without(ignore, layer.folder, [*(volume.source for volume in habitat.volumes), *at_start])


def _without(ignore: Ignore, root: Path, paths: Sequence[Path]) -> Ignore:
    """Return rules for a tree that also leave out some paths. The walk asks each rule about each file."""
    return ignore.also_if(is_one_of(root, paths)) if paths else ignore


def _dockerfile_names(habitat: Habitat) -> list[str]:
    """Return patterns for the Dockerfile and its ignore file."""
    return [f"/{name}" for name in (habitat.dockerfile, file_name(habitat.folder, habitat.dockerfile)) if name]


def subfolder_tree(habitat: Habitat, layer: ConfigLayer, name: str) -> tuple[Item, ...]:
    """Return the tree of `tools` or `tests` in a layer's folder, () if there is none."""
    folder = layer.folder / name
    if folder.is_dir():
        return _tree(habitat, "", folder, lambda: habitat.ignore(layer, folder, TOOL_FOLDERS))
    if os.path.lexists(folder):
        raise ConfigError("is not a folder", where=f"{layer.shown}/{name}", remedy="make it one, or remove it")
    return ()


def file_tree(habitat: Habitat, copy: FileCopy) -> tuple[Item, ...]:
    """Return what an entry of `files:` copies. A file that the entry names is copied even if .habignore names it."""
    return _tree(habitat, copy.origin.layer, copy.source, lambda: file_ignore(habitat, copy))


def file_ignore(habitat: Habitat, copy: FileCopy, *, credentials: bool = True) -> Ignore:
    """Return the rules for what an entry of `files:` leaves out of its folder. Parameters as of `layer_ignore`."""
    return habitat.ignore(habitat.layer(copy.origin.layer), copy.source, credentials=credentials)


def executable_script(habitat: Habitat, test: TestScript) -> Item:
    """Return the script of a test, which is executable whatever its mode is on the host."""
    return replace(_tree(habitat, "", test.source, Ignore)[0], kind="file", mode=0o755)


def _tree(
    habitat: Habitat, purpose: str, root: Path, ignore: Callable[[], Ignore], *, exact: bool = False
) -> tuple[Item, ...]:
    def without_secrets() -> Ignore:
        return _without(ignore(), root, habitat.secret_files)

    return habitat.sources.tree(purpose, root, without_secrets, exact=exact)
