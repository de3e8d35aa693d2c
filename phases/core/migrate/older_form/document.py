"""A config.yaml that is edited as text, so that comments, quotes and blank lines stay as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import yaml

from phases.core.config.yaml_tree import NULLS
from phases.core.migrate.result import ReportRow

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class Pair(NamedTuple):
    """A key and its value in a mapping."""

    mapping: yaml.MappingNode
    key: yaml.ScalarNode
    value: yaml.Node


class Document:
    """The lines of a config.yaml, the lines that they had in the file, and the report about changed keys.

    Each change parses the text anew, so a node is good for one change only.

    Attributes:
        lines: The lines; `set_lines` changes them.
        rows: The result for each key in the older form.
    """

    def __init__(self, text: str) -> None:
        self.rows: list[ReportRow] = []
        self.lines = text.removeprefix("\ufeff").splitlines()
        self._numbers = list(range(1, len(self.lines) + 1))
        self._root: yaml.MappingNode | None = None

    @property
    def text(self) -> str:
        return "".join(f"{line}\n" for line in self.lines)

    @property
    def root(self) -> yaml.MappingNode:
        """The whole config. An empty file is an empty mapping, and `null` or `~` is the text "", as no value is."""
        if self._root is None:
            node = yaml.compose(self.text, Loader=yaml.SafeLoader)
            self._root = node if isinstance(node, yaml.MappingNode) else yaml.MappingNode("tag:yaml.org,2002:map", [])
            for scalar in scalars(self._root):
                if not scalar.style and scalar.value in NULLS:
                    scalar.value = ""
        return self._root

    def pair(self, *path: str | int) -> Pair | None:
        """Return the pair at a path of keys and indexes, None if there is none."""
        *above, name = path
        node = self.node(*above)
        if isinstance(node, yaml.MappingNode):
            return next((Pair(node, key, value) for key, value in node.value if key.value == name), None)
        return None

    def node(self, *path: str | int) -> yaml.Node | None:
        """Return the value at a path of keys and indexes, None if there is none."""
        node: yaml.Node | None = self.root
        for part in path:
            if isinstance(node, yaml.MappingNode):
                node = next((value for key, value in node.value if key.value == part), None)
            elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
                node = node.value[part]
            else:
                return None
        return node

    def names(self, *path: str | int) -> list[str]:
        """Return the keys of the mapping at a path, none if there is no mapping."""
        node = self.node(*path)
        return [str(key.value) for key, _ in node.value] if isinstance(node, yaml.MappingNode) else []

    def indexes(self, *path: str | int) -> range:
        """Return the indexes of the list at a path, none if there is no list."""
        node = self.node(*path)
        return range(len(node.value)) if isinstance(node, yaml.SequenceNode) else range(0)

    def scalar(self, *path: str | int) -> str | None:
        """Return the text of the scalar at a path, None if there is none."""
        node = self.node(*path)
        return str(node.value) if isinstance(node, yaml.ScalarNode) else None

    def report(self, node: yaml.Node, text: str, place: str, why: str = "") -> None:
        """Add a row to the report. `place` is the key that `text` has become, "" if it is lost."""
        self.rows.append(ReportRow(self._numbers[node.start_mark.line], text, place, why))

    def set_lines(self, start: int, count: int, lines: Sequence[str]) -> None:
        """Replace `count` lines from the index `start` on."""
        number = self._numbers[min(start, len(self._numbers) - 1)] if self._numbers else 1
        self.lines[start : start + count] = lines
        self._numbers[start : start + count] = [number] * len(lines)
        self._root = None


def scalars(node: yaml.Node) -> Iterator[yaml.ScalarNode]:
    """Yield the scalars that are values, the last one first, so that a change moves none that follows."""
    if isinstance(node, yaml.ScalarNode):
        yield node
    elif isinstance(node, yaml.MappingNode):
        for _, value in reversed(node.value):
            yield from scalars(value)
    else:
        for item in reversed(node.value):
            yield from scalars(item)


def last_line(node: yaml.Node, key: yaml.Node | None = None) -> int:
    """Return the index of the last line with a part of a node. `key` is its key, for a node that is empty."""
    if not isinstance(node, yaml.CollectionNode) or node.flow_style:
        if is_block_scalar(node):
            return _end_of_block(node)
        if key is not None and is_absent(node):
            return key.end_mark.line
        return node.end_mark.line
    if not node.value:
        return key.end_mark.line if key is not None else node.start_mark.line
    last = node.value[-1]
    return last_line(last[1], last[0]) if isinstance(last, tuple) else last_line(last)


def between(document: Document, start: yaml.Mark, end: yaml.Mark) -> list[str]:
    """Return the text between two marks, by line."""
    rows = document.lines[start.line : end.line + 1]
    rows[-1] = rows[-1][: end.column]
    rows[0] = rows[0][start.column :]
    return rows


def is_absent(node: yaml.Node) -> bool:
    """Return whether a node is the value of a key that has none."""
    return bool(node.start_mark.index == node.end_mark.index)


def is_block_scalar(node: yaml.Node) -> bool:
    """Return whether a node is a text below `|` or `>`."""
    return isinstance(node, yaml.ScalarNode) and node.style in ("|", ">")


def _end_of_block(node: yaml.Node) -> int:
    """Return the last line of a block scalar that is not blank. PyYAML's end is behind the blank lines."""
    buffer = node.start_mark.buffer
    rows = buffer.rstrip("\0").split("\n") if buffer else []
    last = node.end_mark.line - (node.end_mark.column == 0)
    while last > node.start_mark.line and last < len(rows) and not rows[last].strip():
        last -= 1
    return int(last)


def indented(line: str, columns: int) -> str:
    """Return a line with more spaces before it, or fewer for a negative number."""
    if not line.strip():
        return line
    return " " * columns + line if columns >= 0 else line[min(-columns, len(line) - len(line.lstrip())) :]
