"""Find the configs that others take over by name with `extends:`, also from one to the next."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from phases.core import layout
from phases.core.config import names
from phases.core.errors import ConfigError, did_you_mean
from phases.core.origin import ConfigLayer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from phases.core.config.yaml_tree import Tree
    from phases.core.origin import Origin
    from phases.core.problems import Problems

#: The extends that are a part of the program.
PACKAGE_FOLDER = Path(__file__).resolve().parents[3] / "extends"

_KEY = "extends"

# No project comes near this.
_MAX_DEPTH = 50


def places_of(root: Path) -> tuple[tuple[Path, str], ...]:
    """Return the folders that have extends for a project, with what a person calls each; the first has precedence."""
    own = layout.shared_folder(root) / layout.EXTENDS
    return (own, str(own.relative_to(root))), (PACKAGE_FOLDER, "phases/extends")


def names_in(folders: Iterable[tuple[Path, str]]) -> list[str]:
    """Return the names of all extends in some folders, sorted."""
    entries = [entry for folder, _ in folders if folder.is_dir() for entry in folder.iterdir()]
    return sorted({entry.name for entry in entries if (entry / "config.yaml").is_file()})


class ExtendsReader:
    """Reads the extends of one habitat, each once, and each behind those that it extends itself.

    Args:
        folders: The folders that have extends, as `places_of` returns them.
        read: Reads the config of a layer.
        problems: Collects the errors. Without a config, nobody knows what it sets.
    """

    def __init__(
        self, folders: Sequence[tuple[Path, str]], read: Callable[[ConfigLayer], Tree], problems: Problems
    ) -> None:
        self._folders = folders
        self._read = read
        self._problems = problems
        # Each layer is followed by those that extend it. None stands for a layer with an error.
        self._layers: dict[str, tuple[ConfigLayer, Tree] | None] = {}
        # The extends that are being read, each with the line that names it.
        self._open: dict[str, Origin] = {}

    def read(self, tree: Tree) -> None:
        """Read the extends that a config names."""
        for name, origin in _entries(tree):
            with self._problems:
                self._add(name, origin)
                continue
            self._layers.setdefault(name, None)
            self._problems.lacks_layer = True

    @property
    def layers(self) -> tuple[ConfigLayer, ...]:
        """The layers that were read, in the order in which they are merged."""
        return tuple(layer for layer, _ in filter(None, self._layers.values()))

    @property
    def trees(self) -> list[Tree]:
        """The configs of `layers`."""
        return [tree for _, tree in filter(None, self._layers.values())]

    def _add(self, name: str, origin: Origin) -> None:
        if name in self._open:
            raise self._cycle(name, origin)
        if name in self._layers:
            return
        if len(self._open) >= _MAX_DEPTH:
            raise ConfigError(f"extends: more than {_MAX_DEPTH} extend each other", where=origin, remedy="use fewer")
        layer = self._layer(name, origin)
        self._open[name] = origin
        try:
            tree = self._read(layer)
            self._problems.lacks_layer |= tree.is_wrong
            self.read(tree)
        finally:
            del self._open[name]
        self._layers[name] = layer, tree

    def _layer(self, name: str, origin: Origin) -> ConfigLayer:
        if not names.is_habitat_name(name):
            remedy = f"write the name of a folder, not a path: {names.HABITAT_NAME_RULE}"
            raise ConfigError(f"extends: {name!r} is not a name", where=origin, remedy=remedy)
        for folder, shown in self._folders:
            if os.path.lexists(folder / name):
                if not (folder / name / "config.yaml").is_file():
                    raise ConfigError(
                        "has no config.yaml", where=f"{shown}/{name}", remedy=f"add it, since {origin} names it"
                    )
                return ConfigLayer(f"{_KEY}/{name}", folder / name, f"{shown}/{name}")
        remedy = did_you_mean(name, names_in(self._folders))
        if not remedy.endswith("?"):
            remedy += f"; one of your own would be {self._folders[0][1]}/{name}/config.yaml"
        raise ConfigError(f"extends: there is no extend '{name}'", where=origin, remedy=remedy)

    def _cycle(self, name: str, origin: Origin) -> ConfigError:
        """Return the error for an extend that extends itself, with the lines by which it does."""
        chain = list(self._open)[list(self._open).index(name) :]
        if chain == [name]:
            remedy = "remove the line; to build on the program's extend of this name, give yours another name"
            return ConfigError(f"extends: '{name}' extends itself", where=origin, remedy=remedy)
        steps = [f"{one} extends {other} ({self._open[other]})" for one, other in pairwise(chain)]
        problem = f"extends: {', '.join(steps)}, and {chain[-1]} extends {name} again"
        return ConfigError(problem, where=origin, remedy="remove one of these lines")


def _entries(tree: Tree) -> Iterator[tuple[str, Origin]]:
    """Yield the names in a config's `extends`, each with its line. The schema refuses what is no name."""
    key = tree.at((_KEY,))
    for entry in key.value if key and isinstance(key.value, list) else ():
        if isinstance(entry.value, str) and not entry.is_wrong:
            yield entry.value, entry.origin
