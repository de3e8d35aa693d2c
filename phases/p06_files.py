"""Phase 6, files: copy the folders of the three layers and the entries of `files:`.

From this phase on the volumes are mounted, in the build and at start.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from phases.core.copied_files import file_tree, layer_tree
from phases.core.files import tree
from phases.core.json_types import dotted
from phases.protocol import ChangeDescription, Copy, copies, file_in

if TYPE_CHECKING:
    from phases.core.json_types import Json
    from phases.core.model import Habitat
    from phases.protocol import SlicePath, Step

ID = 6
NAME = "files"
TITLE = "Copying files"
DESCRIPTION = "Copy files and mount volumes"
SNAPSHOT = True


def slice(habitat: Habitat) -> Json:
    """Include volumes as the config has them, without their content: that belongs to the host."""
    return {
        "files": [
            {
                "content": tree.identity(file_tree(habitat, copy)),
                "dest": copy.dest,
                "mode": copy.mode,
                "owner": habitat.user_named(copy.owner),
            }
            for copy in habitat.files
        ],
        "layers": {
            layer.name: {"content": tree.identity(layer_tree(habitat, layer)), "dest": layer.dest}
            for layer in habitat.layers
            if layer.dest
        },
        "volumes": [{"dest": v.dest, "readonly": v.readonly, "source": v.shown} for v in habitat.volumes],
    }


def describe_change(changed: SlicePath) -> ChangeDescription | None:
    match changed.key:
        case ("layers", str(name), "content", str(path)):
            return file_in(changed.habitat.layer(name).shown, path)
        case ("layers", _, "dest"):
            return None
        case ("files", int(number), "content", str(path)):
            return file_in(changed.habitat.files[number].shown.rstrip("/"), path)
        case _:
            return ChangeDescription(dotted(*changed.key))


def plan(habitat: Habitat) -> list[Step]:
    steps: list[Step] = []
    for layer in habitat.layers:
        if layer.dest:
            origin = habitat.env.origin(f"{layer.name.upper()}_PATH")
            steps.append(Copy(tuple(copies(layer_tree(habitat, layer), layer.dest, habitat.owner_of(layer), origin))))
    for copy in habitat.files:
        owner = habitat.user_named(copy.owner)
        entries = copies(file_tree(habitat, copy), copy.dest, owner, copy.origin, mode=int(copy.mode or "0", 8))
        steps.append(Copy(tuple(entries)))
    return steps
