"""Read the config.yaml files of a habitat's layers, merge them, and resolve the result to a Habitat.

Merging: lists are appended in the order of the layers, mappings are merged key by key, and a later value replaces an
earlier one. Every error names its file and line.
"""

from __future__ import annotations

import os
from functools import partial, reduce
from pathlib import Path
from typing import TYPE_CHECKING

from phases.core import command_form, layout
from phases.core.config import names, yaml_tree
from phases.core.config.layers import personal
from phases.core.config.resolve import resolve
from phases.core.errors import ConfigError
from phases.core.origin import ConfigLayer, Origin
from phases.core.problems import Problems

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from phases.core.config.yaml_tree import Tree
    from phases.core.model import Habitat

# The system layer is a part of the program, wherever the project is.
SYSTEM_FOLDER = Path(__file__).resolve().parents[2] / "system"


# Keys that are a word or a mapping: one of a later layer replaces the other of an earlier one.
_WORD_OR_MAPPING = ("entry.network",)


def habitat_names(root: Path) -> list[str]:
    """Return the names of the folders of habitats, sorted."""
    folder = layout.habitats_folder(root)
    if not folder.is_dir():
        return []
    return sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and layout.names_habitat(root, entry.name))


def load(
    root: Path,
    name: str,
    phase_names: Iterable[str],
    texts: Mapping[str, str] | None = None,
    *,
    names_migrate: bool = True,
    with_personal: bool = True,
) -> Habitat:
    """Read, merge, validate and resolve the configs of a habitat.

    Args:
        root: The root of the project.
        name: The name of the habitat.
        phase_names: The names of all phases.
        texts: From the name of a layer to the text to use in place of its config.yaml.
        names_migrate: Whether the error for a config in the older form names `habitat migrate`.
        with_personal: Whether the person's own config counts, as it does for running habitats.

    Raises:
        ConfigError: With the line of the first thing that is wrong; its `others` are the errors of all else.

    """
    problems = Problems()
    own = layers_of(root, name)
    layers, read = _with_extends(root, own, trees(own, texts or {}, problems), problems)
    if with_personal and (layer := problems.attempt(personal.find, None)):
        layers = (*layers, layer)
        own_tree = problems.attempt(partial(_tree, layer, None, problems), None)
        read += [personal.checked(own_tree, problems)] if own_tree else []
    tree = merged(read, problems)
    try:
        return resolve(root, name, layers, tree, tuple(phase_names), problems)
    except ConfigError as error:
        if names_migrate:
            _name_migrate(name, error, trees(own, texts or {}, Problems()))
        raise


def _name_migrate(name: str, error: ConfigError, layers: Iterable[Tree]) -> None:
    """Add `habitat migrate` to the remedy of an error, if a config is in the older form.

    It replaces the remedy where the error is about an old key itself.
    """
    from phases.core.config import older_form  # imported late: most configs have no error

    keys = {origin: key for tree in layers for key, origin in older_form.keys(tree).items()}
    if not keys:
        return

    def hint(key: str) -> str:
        return f"{key} is of claude-habitat: `{command_form.verb('migrate', name)}` converts the config"

    for each in (error, *error.others):
        if isinstance(each.where, Origin) and each.where in keys:
            each.remedy = hint(keys[each.where])
    if error.where not in keys:
        error.remedy = "; ".join(filter(None, (error.remedy, hint(next(iter(keys.values()))))))


def merged(trees: Iterable[Tree], problems: Problems) -> Tree:
    """Return the configs of all layers as one."""
    return reduce(partial(merge, key="", problems=problems), trees)


def trees(layers: Iterable[ConfigLayer], texts: Mapping[str, str], problems: Problems) -> list[Tree]:
    """Return the config of each layer; `texts` are those to use in place of files."""
    unread = yaml_tree.Tree({}, Origin("", "", 1), is_wrong=True)
    read = [problems.attempt(partial(_tree, layer, texts.get(layer.name), problems), unread) for layer in layers]
    problems.lacks_layer = any(tree.is_wrong for tree in read)
    return read


def _with_extends(
    root: Path, layers: tuple[ConfigLayer, ...], read: list[Tree], problems: Problems
) -> tuple[tuple[ConfigLayer, ...], list[Tree]]:
    """Return layers and their configs, with those of the extends that they name behind the system layer."""
    if not any(tree.at(("extends",)) for tree in read):
        return layers, read
    from phases.core.config.layers import extends  # imported late: many habitats have none

    reader = extends.ExtendsReader(extends.places_of(root), lambda layer: _tree(layer, None, problems), problems)
    for tree in read:
        reader.read(tree)
    after = sum(layer.role == "system" for layer in layers)
    return (
        (*layers[:after], *reader.layers, *layers[after:]),
        [*read[:after], *reader.trees, *read[after:]],
    )


def _tree(layer: ConfigLayer, text: str | None, problems: Problems) -> Tree:
    shown = f"{layer.shown}/config.yaml"
    if text is not None:
        tree = yaml_tree.parse(text.encode(), layer=layer.name, shown=shown, problems=problems)
    else:
        tree = yaml_tree.load(layer.folder / "config.yaml", layer=layer.name, shown=shown, problems=problems)
    if tree.at(("instructions",)):
        from phases.core.config.layers import instructions  # imported late: many configs have none

        return instructions.as_list(tree)
    return tree


def layers_of(root: Path, name: str) -> tuple[ConfigLayer, ...]:
    """Return the layers of a habitat without its extends. Raises ConfigError if its name or its folder is wrong."""
    folder, shared = layout.habitat_folder(root, name), layout.shared_folder(root)
    shown = str(folder.relative_to(root))
    if not names.is_habitat_name(name):
        remedy = f"rename the folder: use {names.HABITAT_NAME_RULE}"
        raise ConfigError(f"'{name}' can't name a habitat", where=shown, remedy=remedy)
    dockerfile = folder / "Dockerfile"
    if not os.path.lexists(folder / "config.yaml") and not os.path.lexists(dockerfile):
        raise ConfigError("has neither config.yaml nor Dockerfile", where=shown, remedy="add one, or remove the folder")
    layers = (
        ConfigLayer("system", SYSTEM_FOLDER, "phases/system"),
        ConfigLayer("shared", shared, str(shared.relative_to(root))),
        ConfigLayer("local", folder, shown),
    )
    for layer in layers:
        if os.path.lexists(layer.folder) and not layer.folder.is_dir():
            raise ConfigError("is not a folder", where=layer.shown, remedy="make it one, or remove it")
    return layers


def merge(under: Tree, over: Tree, key: str, problems: Problems) -> Tree:
    """Merge the tree of a later layer into that of an earlier one.

    Args:
        under: The tree of the earlier layer.
        over: The tree of the later layer.
        key: Their key in the config, for errors.
        problems: Collects the error for trees of different types.
    """
    if under.is_wrong or over.is_wrong:
        over = yaml_tree.Tree(over.value, over.origin, is_wrong=True)
    if over.value is None:
        return under
    if under.value is None:
        return over
    if isinstance(under.value, dict) and isinstance(over.value, dict):
        both = dict(under.value)
        for name, tree in over.value.items():
            place = f"{key}.{name}" if key else name
            both[name] = merge(both[name], tree, place, problems) if name in both else tree
        return yaml_tree.Tree(both, over.origin, over.is_wrong)
    if isinstance(under.value, list) and isinstance(over.value, list):
        return yaml_tree.Tree([*under.value, *over.value], over.origin, over.is_wrong)
    if under.kind == over.kind or key in _WORD_OR_MAPPING:
        return over
    if not over.is_wrong:
        problem = f"{key} is {over.kind} here but {under.kind} in {under.origin}"
        problems.add(ConfigError(problem, where=over.origin, remedy=f"write {under.kind}, as there"))
    return yaml_tree.Tree(under.value, under.origin, is_wrong=True)
