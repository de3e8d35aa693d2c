"""Find all problems of a config that `doit migrate` has converted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phases.core.config import loader
from phases.core.config.resolve import resolve
from phases.core.errors import ConfigError
from phases.core.problems import Problems

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


def problems(root: Path, name: str, phases: Sequence[str], texts: Mapping[str, str]) -> list[ConfigError]:
    """Return every problem of a habitat's configs, by file and line; none for configs that load.

    The arguments are those of `loader.load`, whose error would name `doit migrate` for what is left to convert.
    """
    collected = Problems()
    layers = loader.layers_of(root, name)
    tree = loader.merged(loader.trees(layers, texts, collected), collected)
    try:
        resolve(root, name, layers, tree, phases, collected)
    except ConfigError as error:
        return [error, *error.others]
    return []
