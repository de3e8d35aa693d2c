"""Phase 6, files: copy the folders of the layers, and the entries of `files:` that name no other point.

From this phase on the volumes are mounted, in the build and at start.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from phases.core.copied_files import file_tree, layer_tree
from phases.core.files import tree
from phases.entries import copies, file_in
from phases.protocol import ChangeDescription, Copy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from phases.core.json_types import Json, Key
    from phases.core.model import FileCopy, Habitat
    from phases.core.origin import ConfigLayer
    from phases.protocol import SlicePath, Step

ID = 6
NAME = "files"
TITLE = "Copying files"
DESCRIPTION = "Copy files and mount volumes"
SNAPSHOT = True


def _files(habitat: Habitat) -> list[FileCopy]:
    return [copy for copy in habitat.files if copy.point is None]


def _copied_layers(habitat: Habitat) -> list[ConfigLayer]:
    """Return the layers whose folders are copied: of the extends, those that have more than a config and tools."""
    return [
        layer
        for layer in habitat.layers
        if layer.dest and (layer.role != "extends" or any(item.path for item in layer_tree(habitat, layer)))
    ]


def file_slice(habitat: Habitat, copy: FileCopy) -> Json:
    """Return the slice of one entry of `files:`."""
    return {
        "content": tree.identity(file_tree(habitat, copy)),
        "dest": copy.dest,
        "mode": copy.mode,
        "owner": habitat.user_named(copy.owner),
    }


def slice(habitat: Habitat) -> Json:
    """Include volumes as the config has them, without their content: that belongs to the host."""
    return {
        "files": [file_slice(habitat, copy) for copy in _files(habitat)],
        "layers": {
            layer.name: {"content": tree.identity(layer_tree(habitat, layer)), "dest": layer.dest}
            for layer in _copied_layers(habitat)
        },
        "volumes": [{"dest": v.dest, "readonly": v.readonly, "source": v.shown} for v in habitat.volumes],
    }


def describe_change(changed: SlicePath) -> ChangeDescription | None:
    match changed.key:
        case ("layers", str(name), "content", str(path)):
            return file_in(changed.habitat.shown_layer(name), path)
        case ("layers", _, "dest"):
            return None
        case ("files", int(number), *field):
            return describe_file(changed, _files(changed.habitat), number, tuple(field))
        case _:
            return changed.value(*changed.key)


def describe_file(changed: SlicePath, copies: Sequence[FileCopy], number: int, field: Key) -> ChangeDescription:
    """Return what a person calls a place in the slice of an entry of `files:`.

    Args:
        changed: The place in the slice.
        copies: The entries of today whose slices are in the same list.
        number: The index in the list.
        field: The place in the slice of the entry.
    """
    if not changed.is_todays:
        return ChangeDescription("files")
    copy = copies[number]
    match field:
        case ("content", str(path)):
            return file_in(_shown(changed.habitat, copy), path)
        case _:
            return changed.value("files", changed.habitat.files.index(copy), *field)


def plan(habitat: Habitat) -> list[Step]:
    steps: list[Step] = []
    for layer in _copied_layers(habitat):
        origin = habitat.env.origin(layer.dest_variable)
        steps.append(Copy(tuple(copies(layer_tree(habitat, layer), layer.dest, habitat.owner_of(layer), origin))))
    return [*steps, *(copy_file(habitat, copy) for copy in _files(habitat))]


def copy_file(habitat: Habitat, copy: FileCopy) -> Copy:
    """Return the step for one entry of `files:`."""
    owner = habitat.user_named(copy.owner)
    return Copy(tuple(copies(file_tree(habitat, copy), copy.dest, owner, copy.origin, mode=int(copy.mode or "0", 8))))


def _shown(habitat: Habitat, copy: FileCopy) -> str:
    """Return what a person calls a source. One in a layer's folder is called as the copy of that folder calls it."""
    for layer in habitat.layers:
        with suppress(ValueError):
            return "/".join((layer.shown, *copy.source.resolve().relative_to(layer.folder.resolve()).parts))
    return copy.shown.rstrip("/")
