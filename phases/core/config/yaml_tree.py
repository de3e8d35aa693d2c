"""Read YAML files as trees in which each value has its file and line, also after merging.

A scalar is kept as the text that a person typed (`0644`, `1.10`, `no`), and the schema decides on its type. So a branch
named 1.10 is not a number, and a mode needs no quotes.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeAlias

import yaml
from msgspec import Struct

from phases.core.errors import ConfigError
from phases.core.files import safe_open
from phases.core.origin import Origin
from phases.core.problems import Problems

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

Plain: TypeAlias = "str | dict[str, Plain] | list[Plain] | None"

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

# No config of a person comes near these; aliases of aliases would exceed them.
_MAX_BYTES = 1_000_000
_MAX_NODES = 50_000
_MAX_DEPTH = 50

# The tags that YAML itself gives to values. Any other one is written in the file, and not supported.
_PLAIN_TAGS = "str seq map null bool int float timestamp merge value"
_TAGS = frozenset(f"tag:yaml.org,2002:{name}" for name in _PLAIN_TAGS.split())

#: Texts that mean no value, unless they are in quotes.
NULLS = frozenset(("", "~", "null", "Null", "NULL"))
_BLOCK_IN_LIST = re.compile(r"( *)- *[|>][+-]?\d?\s*")


class Tree(Struct):
    """One value of a config.

    Attributes:
        value: A text, None, or a mapping or list of further trees.
        origin: Its file and line.
        is_wrong: Whether it takes the place of a value with an error, which was collected.
    """

    value: str | dict[str, Tree] | list[Tree] | None
    origin: Origin
    is_wrong: bool = False

    @property
    def kind(self) -> str:
        """The type of the value, as errors name it."""
        if isinstance(self.value, dict):
            return "a mapping"
        return "a list" if isinstance(self.value, list) else "a value"

    def plain(self) -> Plain:
        """Return the value without lines, and without the keys of a mapping that have no value."""
        if isinstance(self.value, dict):
            return {key: tree.plain() for key, tree in self.value.items() if tree.value is not None}
        if isinstance(self.value, list):
            return [tree.plain() for tree in self.value]
        return self.value

    def empty_keys(self) -> Iterator[tuple[str | int, ...]]:
        """Yield the paths of the keys that `plain` leaves out."""
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
        """Return the value at `path`, None if there is none."""
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
        """Return the line of the value at `path`, or of the nearest value above it."""
        tree = self.at(path)
        return tree.origin if tree else self.origin_of(path[:-1])


def load(path: Path, *, layer: str, shown: str, problems: Problems | None = None) -> Tree:
    """Read a YAML file that holds a mapping.

    Args:
        path: The file.
        layer: The layer's name.
        shown: The file's name in errors.
        problems: Collects the errors of single values. Without it they are raised.

    Returns:
        The mapping, an empty one for a missing or empty file.

    Raises:
        ConfigError: The file can't be read, or is not YAML. With line and column.

    """
    try:
        raw = safe_open.read(path, _MAX_BYTES)
    except OSError as error:
        raise ConfigError(f"can't be read ({error.strerror})", where=shown, remedy="check that it is a file") from error
    return parse(raw or b"", layer=layer, shown=shown, problems=problems)


def parse(raw: bytes, *, layer: str, shown: str, problems: Problems | None = None) -> Tree:
    """Return the mapping in the bytes of a YAML file, as `load` does."""
    top = Origin(layer, shown, 1)
    if len(raw) > _MAX_BYTES:
        raise ConfigError(f"is larger than {_MAX_BYTES:,} bytes", where=shown, remedy="move data to other files")
    try:
        text = raw.decode()
        root = yaml.compose(text, Loader=_Loader)
    except UnicodeDecodeError as error:
        raise ConfigError("is not UTF-8 text", where=shown, remedy="save it as UTF-8") from error
    except yaml.MarkedYAMLError as error:
        raise _syntax_error(error, text, layer, shown) from error
    except RecursionError as error:
        raise ConfigError("values are nested too deeply", where=shown, remedy="use fewer levels") from error
    except yaml.reader.ReaderError as error:
        character = chr(error.character)
        problem = f"is not YAML: it has the character {character!r}"
        where = Origin(layer, shown, text.partition(character)[0].count("\n") + 1)
        raise ConfigError(problem, where=where, remedy="remove it") from error
    if root is None:
        return Tree({}, top)
    collected = Problems() if problems is None else problems
    tree = _Converter(layer, shown, text.splitlines(), collected).tree(root)
    if problems is None:
        collected.raise_all()
    if isinstance(tree.value, dict):
        return tree
    if tree.value is None or tree.is_wrong:
        return Tree({}, top, tree.is_wrong)
    problem = f"must be a mapping of keys to values, is {tree.kind}"
    raise ConfigError(problem, where=tree.origin, remedy="see docs/config.md")


class _Converter:
    """Converts the nodes of PyYAML to a Tree. It refuses duplicate keys, cycles and far too many values."""

    def __init__(self, layer: str, shown: str, rows: list[str], problems: Problems) -> None:
        self._problems = problems
        self._layer, self._shown = layer, shown
        self._rows = rows
        self._count = 0
        self._above: set[int] = set()

    def tree(self, node: yaml.Node) -> Tree:
        """Return the tree of a node, in which values with an error are marked."""
        return self._problems.attempt(lambda: self._tree(node), Tree("", self._origin(node), is_wrong=True))

    def _tree(self, node: yaml.Node) -> Tree:
        origin = self._origin(node)
        self._count += 1
        if self._count > _MAX_NODES:
            raise ConfigError(f"has more than {_MAX_NODES:,} values", where=self._shown, remedy="use fewer aliases")
        if node.tag not in _TAGS:
            raise ConfigError(f"tag {node.tag} is not supported", where=origin, remedy="write the value without !")
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, origin)
        if len(self._above) > _MAX_DEPTH:
            raise ConfigError("values are nested too deeply", where=origin, remedy="use fewer levels")
        if id(node) in self._above:
            raise ConfigError("an alias contains itself", where=origin, remedy="write the value in its place")
        self._above.add(id(node))
        value: dict[str, Tree] | list[Tree]
        value = self._mapping(node) if isinstance(node, yaml.MappingNode) else [self.tree(n) for n in node.value]
        self._above.discard(id(node))
        return Tree(value, origin)

    def _scalar(self, node: yaml.ScalarNode, origin: Origin) -> Tree:
        if "\0" in node.value:
            raise ConfigError("a value contains a NUL byte", where=origin, remedy="remove it")
        self._check_dashes(node)
        is_null = not node.style and node.value in NULLS  # an unquoted value has the style None or ""
        return Tree(None if is_null else str(node.value), origin)

    def _check_dashes(self, node: yaml.ScalarNode) -> None:
        """Refuse a dash that is indented further than the one above: YAML reads it as text of that one."""
        first, last = node.start_mark.line, node.end_mark.line
        for number in range(first + 1, last + 1) if not node.style else ():
            if number < len(self._rows) and self._rows[number].lstrip().startswith("- "):
                raise ConfigError(
                    "the dash belongs to the text of the line above",
                    where=Origin(self._layer, self._shown, number + 1),
                    remedy="indent it like the dash above",
                )

    def _mapping(self, node: yaml.MappingNode) -> dict[str, Tree]:
        result: dict[str, Tree] = {}
        for key, value in node.value:
            with self._problems:
                self._check_key(key, result)
                tree = self.tree(value)
                # The line of the key, since a block begins on the line below.
                result[key.value] = Tree(tree.value, self._origin(key), tree.is_wrong)
        return result

    def _check_key(self, key: yaml.Node, before: Mapping[str, Tree]) -> None:
        if not isinstance(key, yaml.ScalarNode):
            raise ConfigError("a key must be plain text", where=self._origin(key), remedy="quote it")
        if not key.value.isprintable() or "`" in key.value:
            # The backtick also separates the parts of msgspec's messages.
            raise ConfigError(f"{key.value!r} is not a key", where=self._origin(key), remedy="remove it")
        if key.value in before:
            first = before[key.value].origin.line
            problem = f"key '{key.value}' appears twice (first on line {first})"
            raise ConfigError(problem, where=self._origin(key), remedy="keep one of them")

    def _origin(self, node: yaml.Node) -> Origin:
        return Origin(self._layer, self._shown, node.start_mark.line + 1)


def _syntax_error(error: yaml.MarkedYAMLError, text: str, layer: str, shown: str) -> ConfigError:
    """Return the error for a file that PyYAML can't read.

    For text under `- |` that is not indented, PyYAML reports a later line. This reports the text's own line.
    """
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
    where = Origin(layer, shown, line + 1, column + 1)
    if "nesting depth" in str(error.problem):
        return ConfigError("values are nested too deeply", where=where, remedy="use fewer levels")
    return ConfigError(
        f"is not YAML: {error.problem or error.context}",
        where=where,
        remedy="fix the line",
    )
