"""Read the three config.yaml files of a habitat, merge them, and resolve the result to a Habitat.

Merging: lists are appended in the order of the layers, mappings are merged key by key, and a later value replaces an
earlier one. Every error names its file and line.
"""

from __future__ import annotations

import os
from functools import partial, reduce
from pathlib import Path
from typing import TYPE_CHECKING

from phases.core.config import names, yaml_tree
from phases.core.config.resolve import resolve
from phases.core.errors import ConfigError
from phases.core.model import ConfigLayer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from phases.core.config.yaml_tree import Tree
    from phases.core.model import Habitat

# The system layer is a part of the program, wherever the project is.
SYSTEM_FOLDER = Path(__file__).resolve().parents[2] / "system"


def habitat_names(root: Path) -> list[str]:
    """Return the names of the folders in habitats/, sorted. Hidden folders are no habitats."""
    folder = root / "habitats"
    if not folder.is_dir():
        return []
    return sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and entry.name[0] != ".")


def load(root: Path, name: str, phase_names: Iterable[str], text: str | None = None) -> Habitat:
    """Read, merge, validate and resolve the configs of a habitat.

    Args:
        root: The root of the project.
        name: The name of the habitat.
        phase_names: The names of all phases.
        text: The text to use in place of the habitat's config.yaml.

    Raises:
        ConfigError: With the line of the first thing that is wrong.

    """
    layers = _layers(root, name)
    trees = (_tree(layer, text if layer.name == "local" else None) for layer in layers)
    return resolve(root, name, layers, reduce(partial(merge, key=""), trees), tuple(phase_names))


def _tree(layer: ConfigLayer, text: str | None) -> Tree:
    shown = f"{layer.shown}/config.yaml"
    if text is not None:
        return yaml_tree.parse(text.encode(), layer=layer.name, shown=shown)
    return yaml_tree.load(layer.folder / "config.yaml", layer=layer.name, shown=shown)


def _layers(root: Path, name: str) -> tuple[ConfigLayer, ...]:
    """Return the layers of a habitat. Raises ConfigError if its name or its folder is wrong."""
    folder, shown = root / "habitats" / name, f"habitats/{name}"
    if not names.is_habitat_name(name):
        remedy = f"rename the folder: use {names.HABITAT_NAME_RULE}"
        raise ConfigError(f"'{name}' can't name a habitat", where=shown, remedy=remedy)
    dockerfile = folder / "Dockerfile"
    if not os.path.lexists(folder / "config.yaml") and not os.path.lexists(dockerfile):
        raise ConfigError("has neither config.yaml nor Dockerfile", where=shown, remedy="add one, or remove the folder")
    layers = (
        ConfigLayer("system", SYSTEM_FOLDER, "phases/system"),
        ConfigLayer("shared", root / "shared", "shared"),
        ConfigLayer("local", folder, shown),
    )
    for layer in layers:
        if os.path.lexists(layer.folder) and not layer.folder.is_dir():
            raise ConfigError("is not a folder", where=layer.shown, remedy="make it one, or remove it")
    return layers


def merge(under: Tree, over: Tree, key: str) -> Tree:
    """Merge the tree of a later layer into that of an earlier one.

    Args:
        under: The tree of the earlier layer.
        over: The tree of the later layer.
        key: Their key in the config, for errors.

    Raises:
        ConfigError: The trees have different types.

    """
    if over.value is None:
        return under
    if under.value is None:
        return over
    if isinstance(under.value, dict) and isinstance(over.value, dict):
        both = dict(under.value)
        for name, tree in over.value.items():
            both[name] = merge(both[name], tree, f"{key}.{name}" if key else name) if name in both else tree
        return yaml_tree.Tree(both, over.origin)
    if isinstance(under.value, list) and isinstance(over.value, list):
        return yaml_tree.Tree([*under.value, *over.value], over.origin)
    if under.kind != over.kind:
        problem = f"{key} is {over.kind} here but {under.kind} in {under.origin}"
        raise ConfigError(problem, where=over.origin, remedy=f"write {under.kind}, as there")
    return over
