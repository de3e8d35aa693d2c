"""Find all problems of a config. Loading it stops at the first one."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from phases.core.config import loader
from phases.core.config.resolve import resolve
from phases.core.config.yaml_tree import Tree
from phases.core.errors import ConfigError
from phases.core.origin import Origin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

# The sections that others refer to, in the order in which they need each other.
_COMMON = ("base_image", "dockerfile", "name", "env", "hooks", "secrets")


def problems(root: Path, name: str, phases: Sequence[str], texts: Mapping[str, str]) -> list[ConfigError]:
    """Return every problem of a habitat's configs, by file and line; none for configs that load.

    Each part of a section is resolved without the others. The arguments are those of `loader.load`.

    Raises:
        ConfigError: The layers can't be merged.
    """
    layers = loader.layers_of(root, name)
    tree = loader.merged(loader.trees(layers, texts))
    check = partial(_problem, lambda part: resolve(root, name, layers, part, phases))
    whole = check(tree)
    if whole is None:
        return []
    assert isinstance(tree.value, dict)
    found: list[ConfigError] = []
    common = Tree({}, tree.origin)
    if not any(key in tree.value for key in ("base_image", "dockerfile")) and (problem := check(common)):
        found.append(problem)
        common = Tree({"base_image": Tree("scratch", tree.origin)}, tree.origin)
    for key in _COMMON:
        for part in _parts(tree, key):
            both = _with(common, key, part)
            problem = check(both)
            common, found = (common, [*found, problem]) if problem else (both, found)
    for key in tree.value:
        if key not in _COMMON:
            found += [problem for part in _parts(tree, key) if (problem := check(_with(common, key, part)))]
    unique = {str(problem): problem for problem in (found or [whole])}
    return sorted(unique.values(), key=_place)


def _problem(load: Callable[[Tree], object], tree: Tree) -> ConfigError | None:
    try:
        load(tree)
    except ConfigError as error:
        return error
    return None


def _place(problem: ConfigError) -> tuple[str, int]:
    where = problem.where
    return (where.file, where.line) if isinstance(where, Origin) else (str(where), 0)


def _parts(tree: Tree, key: str) -> Iterator[Tree]:
    """Yield a section in parts: the elements of a list, and the pairs of a mapping, each as a section."""
    section = tree.at((key,))
    if section is None:
        return
    if isinstance(section.value, list) and section.value:
        yield from (Tree([element], section.origin) for element in section.value)
    elif isinstance(section.value, dict) and section.value:
        yield from (Tree({name: value}, section.origin) for name, value in section.value.items())
    else:
        yield section


def _with(common: Tree, key: str, part: Tree) -> Tree:
    """Return a config with one more part of a section."""
    assert isinstance(common.value, dict)
    before = common.value.get(key)
    if before is not None and isinstance(before.value, list) and isinstance(part.value, list):
        part = Tree([*before.value, *part.value], part.origin)
    elif before is not None and isinstance(before.value, dict) and isinstance(part.value, dict):
        part = Tree({**before.value, **part.value}, part.origin)
    return Tree({**common.value, key: part}, common.origin)
