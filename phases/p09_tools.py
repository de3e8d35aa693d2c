"""Phase 9, tools: copy each layer's tools/, install them, and put tools/bin on the PATH."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phases.core.copied_files import subfolder_tree
from phases.core.files import tree as files_tree
from phases.entries import copies, file_in
from phases.protocol import ChangeDescription, Copy, Run, SetImageConfig, secrets_slice

if TYPE_CHECKING:
    from phases.core.files.tree import Item
    from phases.core.json_types import Json
    from phases.core.model import Habitat
    from phases.core.origin import ConfigLayer, Origin
    from phases.protocol import SlicePath, Step

ID = 9
NAME = "tools"
TITLE = "Installing tools"
DESCRIPTION = "Install the habitat's tools"
SNAPSHOT = True


def _toolboxes(habitat: Habitat) -> list[tuple[ConfigLayer, str, tuple[Item, ...], Origin]]:
    """Return each layer that has tools, with the folder for them, the tools and the origin of that folder."""
    return [
        (layer, f"{layer.dest}/tools", tree, habitat.env.origin(layer.dest_variable))
        for layer in habitat.layers
        if layer.dest and (tree := subfolder_tree(habitat, layer, "tools"))
    ]


def slice(habitat: Habitat) -> Json:
    toolboxes = _toolboxes(habitat)
    extends = [layer.name for layer, *_ in toolboxes if layer.role == "extends"]
    return {
        "tools": {
            layer.name: {"content": files_tree.identity(tree), "dest": dest, "owner": habitat.owner_of(layer)}
            for layer, dest, tree, _ in toolboxes
        },
        # The mapping has no order, and their order is that of the scripts and of PATH.
        **({"order": extends} if len(extends) > 1 else {}),
        **secrets_slice(habitat, NAME),
    }


def describe_change(changed: SlicePath) -> ChangeDescription | None:
    if changed.key[0] == "order":
        return ChangeDescription("extends", minor=True)
    _, layer, field, *path = map(str, changed.key)
    return file_in(changed.habitat.shown_layer(layer), "tools", *path) if field == "content" else None


def plan(habitat: Habitat) -> list[Step]:
    """Put the habitat's own tools first on the PATH, then the shared ones, those of extends, and the system's.

    PATH is the first step, so that its file goes into the container together with the tools.
    """
    steps: list[Step] = []
    path: dict[str, tuple[str, Origin]] = {}
    for layer, dest, tree, origin in _toolboxes(habitat):
        owner = habitat.owner_of(layer)
        steps.append(Copy(tuple(copies(tree, dest, owner, origin))))
        if any(item.path == "install-tools.sh" for item in tree):
            script = f"{layer.shown}/tools/install-tools.sh"
            steps.append(Run(owner, 'exec "$1"', origin, script, args=(f"{dest}/install-tools.sh",), workdir=dest))
        behind = path["PATH"][0] if path else "${PATH}"
        path["PATH"] = (f"{dest.replace('$', '$$')}/bin:{behind}", origin)
    return [SetImageConfig(env=path), *steps]
