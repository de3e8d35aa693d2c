"""Collections in brackets: remove an element, or write one with a line for each element."""

from __future__ import annotations

from typing import TYPE_CHECKING

import yaml

from phases.core.migrate.older_form.document import between, is_absent

if TYPE_CHECKING:
    from phases.core.migrate.older_form.document import Document


def to_block(document: Document, *path: str) -> None:
    """Write a section that is in brackets, and that is not empty, with one line or more for each element."""
    pair = document.pair(*path)
    if pair is None or not isinstance(pair.value, yaml.CollectionNode) or not pair.value.flow_style:
        return
    key, node = pair.key.start_mark, pair.value
    if not node.value:
        return
    rows = _elements(document, node, " " * (key.column + 2))
    header, *above = between(document, key, node.start_mark)
    behind = document.lines[node.end_mark.line][node.end_mark.column :]
    header = document.lines[key.line][: key.column] + (header.rstrip() + behind).rstrip()
    comments = [" " * (key.column + 2) + row.strip() for row in above if row.strip()]
    document.set_lines(key.line, node.end_mark.line + 1 - key.line, [header, *comments, *rows])


def root_to_block(document: Document) -> None:
    """Write a config that is in brackets as a whole with one line or more for each key."""
    root = document.root
    if root.flow_style:
        start, end = root.start_mark.line, root.end_mark.line
        behind = document.lines[end][root.end_mark.column :].strip()
        rows = _elements(document, root, "") if root.value else []
        document.set_lines(start, end + 1 - start, [*rows, *([behind] if behind else [])])


def _elements(document: Document, node: yaml.CollectionNode, indent: str) -> list[str]:
    """Return the lines of each element of a collection in brackets, with the comments behind it."""
    dash = "- " * isinstance(node, yaml.SequenceNode)
    ends = [item[1].end_mark if isinstance(item, tuple) else item.end_mark for item in node.value]
    starts = [item[0].start_mark if isinstance(item, tuple) else item.start_mark for item in node.value]
    rows = [f"{indent}# {words}" for words in _comments_between(document, node.start_mark, starts[0])]
    for item, start, end, following in zip(node.value, starts, ends, [*starts[1:], node.end_mark], strict=True):
        first, *others = between(document, start, end)
        if isinstance(item, tuple) and is_absent(item[1]) and not first.rstrip().endswith(":"):
            first = f"{first.rstrip()}:"
        lines = [f"{indent}{dash}{first}", *(f"{indent}  {line.strip()}".rstrip() for line in others)]
        lines[-1] += "".join(f"  # {words}" for words in _comments_between(document, end, following))
        rows += lines
    return rows


def _comments_between(document: Document, start: yaml.Mark, end: yaml.Mark) -> list[str]:
    """Return the comments between two elements."""
    gaps = (line.partition("#")[2].strip() for line in between(document, start, end))
    return [words for words in gaps if words]


def remove_element(document: Document, node: yaml.CollectionNode, number: int) -> None:
    """Remove an element with the comma behind it, or with the one before it if it is the last."""
    spans = [
        (item[0].start_mark, item[1].end_mark) if isinstance(item, tuple) else (item.start_mark, item.end_mark)
        for item in node.value
    ]
    start, end = spans[number]
    if number + 1 < len(spans):
        end = spans[number + 1][0]
    elif number and spans[number - 1][1].line == start.line and not _is_empty_pair(node.value[number - 1]):
        start = spans[number - 1][1]
    elif comma := _comma_behind(document, end, node.end_mark):
        line = document.lines[comma[0]]
        document.set_lines(comma[0], 1, [line[: comma[1]] + line[comma[1] + 1 :].lstrip()])
    first, last = document.lines[start.line][: start.column], document.lines[end.line][end.column :]
    document.set_lines(start.line, end.line + 1 - start.line, [first + last])


def _comma_behind(document: Document, start: yaml.Mark, end: yaml.Mark) -> tuple[int, int] | None:
    """Return the line and the column of the comma behind the last element in brackets, None if there is none."""
    column = start.column
    for number in range(start.line, end.line + 1):
        words = document.lines[number][column : end.column if number == end.line else None].partition("#")[0]
        if "," in words:
            return number, column + words.index(",")
        column = 0
    return None


def _is_empty_pair(item: yaml.Node | tuple[yaml.Node, yaml.Node]) -> bool:
    return isinstance(item, tuple) and is_absent(item[1])
