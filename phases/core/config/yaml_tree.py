"""YAML files as trees that remember where each value stands.

A scalar is kept as the text a person typed (`0644`, `1.10`, `no`), and the schema decides what it
is: so a branch named 1.10 is not a number, and a mode needs no quotes. Lines survive coalescing,
which is what lets an error name its layer, file and line.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeAlias

import yaml
from msgspec import Struct

from phases.core.errors import ConfigError
from phases.core.files import safe_open
from phases.core.origin import Origin

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

Plain: TypeAlias = "str | dict[str, Plain] | list[Plain] | None"

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

# Far above any config a person writes, far below what aliases of aliases grow to.
_MAX_BYTES = 1_000_000
_MAX_NODES = 50_000
_MAX_DEPTH = 50

# What YAML itself takes a value for. Any other tag was written, and asks for what is not done here.
_PLAIN_TAGS = "str seq map null bool int float timestamp merge value"
_TAGS = frozenset(f"tag:yaml.org,2002:{name}" for name in _PLAIN_TAGS.split())

_NULLS = {"", "~", "null", "Null", "NULL"}
_BLOCK_IN_LIST = re.compile(r"( *)- *[|>][+-]?\d?\s*")


class Tree(Struct):
    """One value of a config. value: text, None, a mapping or a list of further trees."""

    value: str | dict[str, Tree] | list[Tree] | None
    origin: Origin

    @property
    def kind(self) -> str:
        """What a person calls it."""
        if isinstance(self.value, dict):
            return "a mapping"
        return "a list" if isinstance(self.value, list) else "a value"

    def plain(self) -> Plain:
        """The bare value; keys of a mapping that are empty are left out, as if not written."""
        if isinstance(self.value, dict):
            return {key: tree.plain() for key, tree in self.value.items() if tree.value is not None}
        if isinstance(self.value, list):
            return [tree.plain() for tree in self.value]
        return self.value

    def empty_keys(self) -> Iterator[tuple[str | int, ...]]:
        """The paths of keys that `plain` leaves out."""
        below: Iterable[tuple[str | int, Tree]] = ()
        if isinstance(self.value, dict):
            below = self.value.items()
        elif isinstance(self.value, list):
            below = enumerate(self.value)
        for part, tree in below:
            if tree.value is None and isinstance(part, str):
                yield (part,)
            else:
                yield from ((part, *path) for path in tree.empty_keys())

    def at(self, path: tuple[str | int, ...]) -> Tree | None:
        """The value at `path`; None if there is none."""
        tree: Tree | None = self
        for part in path:
            value = tree.value if tree else None
            if isinstance(value, dict):
                tree = value.get(str(part))
            elif isinstance(value, list) and isinstance(part, int) and part < len(value):
                tree = value[part]
            else:
                return None
        return tree

    def origin_of(self, path: tuple[str | int, ...]) -> Origin:
        """Where `path` stands, or the nearest of its ancestors that stands anywhere."""
        found = self.at(path)
        return found.origin if found else self.origin_of(path[:-1])


def load(path: Path, *, layer: str, shown: str) -> Tree:
    """Read the mapping in the YAML file at `path`; an absent or empty file is an empty mapping.

    shown: the file's name in errors. Raises ConfigError with line and column.
    """
    try:
        raw = safe_open.read(path, _MAX_BYTES)
    except OSError as error:
        raise ConfigError(f"can't be read ({error.strerror})", where=shown, remedy="check that it is a file") from error
    return parse(raw or b"", layer=layer, shown=shown)


def parse(raw: bytes, *, layer: str, shown: str) -> Tree:
    """The same of a file's bytes."""
    top = Origin(layer, shown, 1)
    if len(raw) > _MAX_BYTES:
        raise ConfigError(f"is larger than {_MAX_BYTES:,} bytes", where=shown, remedy="put data into files, not config")
    try:
        text = raw.decode()
        root = yaml.compose(text, Loader=_Loader)
    except UnicodeDecodeError as error:
        raise ConfigError("is not UTF-8 text", where=shown, remedy="save it as UTF-8") from error
    except yaml.MarkedYAMLError as error:
        raise _broken(error, text, layer, shown) from error
    except (yaml.YAMLError, RecursionError) as error:
        raise ConfigError(f"is not YAML ({error})", where=shown, remedy="fix it") from error
    if root is None:
        return Tree({}, top)
    tree = _Grafter(layer, shown, text.splitlines()).graft(root)
    if isinstance(tree.value, dict):
        return tree
    if tree.value is None:
        return Tree({}, top)
    raise ConfigError(
        f"must be a mapping of keys to values, is {tree.kind}", where=tree.origin, remedy="see docs/config.md"
    )


class _Grafter:
    """Turns PyYAML's nodes into a Tree, with duplicate keys, cycles and explosions refused."""

    def __init__(self, layer: str, shown: str, rows: list[str]) -> None:
        self.layer = layer
        self.shown = shown
        self.rows = rows
        self.count = 0
        self.open: set[int] = set()

    def graft(self, node: yaml.Node) -> Tree:
        origin = self._origin(node)
        self.count += 1
        if self.count > _MAX_NODES:
            raise ConfigError(f"has more than {_MAX_NODES:,} values", where=self.shown, remedy="use fewer aliases")
        if node.tag not in _TAGS:
            raise ConfigError(f"a tag ({node.tag})", where=origin, remedy="write the plain value, without !")
        if isinstance(node, yaml.ScalarNode):
            if "\0" in node.value:
                raise ConfigError("a NUL byte in a value", where=origin, remedy="take it out")
            self._check_dashes(node)
            empty = not node.style and node.value in _NULLS  # plain: None or "", as the loader is
            return Tree(None if empty else str(node.value), origin)
        if len(self.open) > _MAX_DEPTH:
            raise ConfigError("values are nested too deep", where=origin, remedy="write it flatter")
        if id(node) in self.open:
            raise ConfigError("an alias contains itself", where=origin, remedy="write the value out")
        self.open.add(id(node))
        value: dict[str, Tree] | list[Tree]
        value = self._mapping(node) if isinstance(node, yaml.MappingNode) else [self.graft(n) for n in node.value]
        self.open.discard(id(node))
        return Tree(value, origin)

    def _check_dashes(self, node: yaml.ScalarNode) -> None:
        """To YAML a dash that is indented further than the one before is text of that one."""
        first, last = node.start_mark.line, node.end_mark.line
        for number in range(first + 1, last + 1) if not node.style else ():
            if number < len(self.rows) and self.rows[number].lstrip().startswith("- "):
                raise ConfigError(
                    "the dash belongs to the text of the line above",
                    where=Origin(self.layer, self.shown, number + 1),
                    remedy="indent it as the one before",
                )

    def _mapping(self, node: yaml.MappingNode) -> dict[str, Tree]:
        result: dict[str, Tree] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise ConfigError("a key must be plain text", where=self._origin(key), remedy="quote it")
            if not key.value.isprintable() or "`" in key.value:
                # Also the sign that msgspec's messages are taken apart by.
                raise ConfigError(f"{key.value!r} is no key", where=self._origin(key), remedy="take it out")
            if key.value in result:
                first = result[key.value].origin.line
                raise ConfigError(
                    f"key '{key.value}' is given twice (first on line {first})",
                    where=self._origin(key),
                    remedy="keep one of them",
                )
            tree = self.graft(value)
            # A block's own mark is its first line; a person looks for the key.
            result[key.value] = Tree(tree.value, self._origin(key))
        return result

    def _origin(self, node: yaml.Node) -> Origin:
        return Origin(self.layer, self.shown, node.start_mark.line + 1)


def _broken(error: yaml.MarkedYAMLError, text: str, layer: str, shown: str) -> ConfigError:
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line, mark.column) if mark else (0, 0)
    rows = text.splitlines()[: line + 1]
    for number, row in enumerate(rows):
        block = _BLOCK_IN_LIST.fullmatch(row)
        below = block and next((n for n in range(number + 1, len(rows)) if rows[n].strip()), None)
        if block and below and len(rows[below]) - len(rows[below].lstrip()) == len(block[1]):
            if rows[below].lstrip().startswith("- "):
                continue  # an empty block, and the next element
            return ConfigError(
                f"the text under `{row.strip()}` is not indented",
                where=Origin(layer, shown, below + 1),
                remedy="indent each of its lines further than the dash",
            )
    return ConfigError(
        f"is not YAML: {error.problem or error.context}",
        where=Origin(layer, shown, line + 1, column + 1),
        remedy="mend the line",
    )
