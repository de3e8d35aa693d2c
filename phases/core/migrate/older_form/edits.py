"""Changes of a `Document`: each replaces, inserts or removes whole lines, or parts of one line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import yaml

from phases.core.migrate.older_form.document import indented, is_block_scalar, last_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from phases.core.migrate.older_form.document import Document, Pair


def rename(document: Document, pair: Pair, name: str) -> None:
    """Give a key another name."""
    _replace_span(document, pair.key, name)


def replace(document: Document, node: yaml.Node, text: str) -> None:
    """Write `text`, which has no line break, for a scalar or for a collection in brackets."""
    _replace_span(document, node, text)


def edit_scalars(document: Document, nodes: Iterable[yaml.ScalarNode], change: Callable[[str], str]) -> None:
    """Replace parts of scalars, of which the last one comes first. `change` gets a part of one line of its text."""
    for node in nodes:
        for number in range(node.start_mark.line, last_line(node) + 1):
            line = document.lines[number]
            start = node.start_mark.column if number == node.start_mark.line else 0
            is_end = number == node.end_mark.line and not is_block_scalar(node)
            end = node.end_mark.column if is_end else len(line)
            if (text := change(line[start:end])) != line[start:end]:
                document.set_lines(number, 1, [line[:start] + text + line[end:]])


def insert(document: Document, mapping: yaml.MappingNode, text: str) -> None:
    """Insert `KEY: VALUE` as the first pair of a mapping that has one."""
    first = mapping.value[0][0].start_mark
    line = document.lines[first.line]
    before, rest = line[: first.column], line[first.column :]
    if mapping.flow_style:
        document.set_lines(first.line, 1, [f"{before}{text}, {rest}"])
    else:
        document.set_lines(first.line, 1, [before + text, " " * first.column + rest])


def remove(document: Document, pair: Pair) -> None:
    """Remove a pair with its lines. A mapping that had no other pair is empty then."""
    pairs, number = pair.mapping.value, pair.mapping.value.index((pair.key, pair.value))
    if pair.mapping.flow_style:
        _remove_in_brackets(document, pair.mapping, number)
    elif number == 0 and len(pairs) > 1 and _starts_after_dash(document, pair.key):
        start, following = pair.key.start_mark, pairs[1][0].start_mark
        line = document.lines[following.line]
        moved = document.lines[start.line][: start.column] + line[following.column :]
        document.set_lines(following.line, 1, [moved])
        document.set_lines(start.line, last_line(pair.value, pair.key) + 1 - start.line, [])
    elif len(pairs) == 1 and _starts_after_dash(document, pair.key):
        start = pair.key.start_mark
        count = last_line(pair.value, pair.key) + 1 - start.line
        document.set_lines(start.line, count, [document.lines[start.line][: start.column] + "{}"])
    else:
        start_line = pair.key.start_mark.line
        document.set_lines(start_line, last_line(pair.value, pair.key) + 1 - start_line, [])


def comment_out(document: Document, pair: Pair) -> bool:
    """Make a comment of a pair whose lines have one. Return whether that was done."""
    start, end = pair.key.start_mark, last_line(pair.value, pair.key) + 1
    rows = document.lines[start.line : end]
    if pair.mapping.flow_style or _starts_after_dash(document, pair.key) or " #" not in "".join(rows):
        return False
    indent = " " * start.column
    document.set_lines(start.line, end - start.line, [f"{indent}# {row[start.column :]}" for row in rows])
    return True


def remove_item(document: Document, *path: str | int) -> None:
    """Remove an item of a list."""
    *above, index = path
    items = document.node(*above)
    assert isinstance(items, yaml.SequenceNode)
    assert isinstance(index, int)
    if items.flow_style:
        _remove_in_brackets(document, items, index)
    else:
        start = items.value[index].start_mark.line
        document.set_lines(start, last_line(items.value[index]) + 1 - start, [])


def add_item(document: Document, key: str, text: str, *, at: int) -> None:
    """Append an item to the top-level list `key`, which is made behind the line `at` if it is missing."""
    pair = document.pair(key)
    if pair is None or (isinstance(pair.value, yaml.ScalarNode) and not pair.value.value):
        header = [] if pair else [f"{key}:"]
        document.set_lines((pair.key.start_mark.line if pair else at) + 1, 0, [*header, f"  - {text}"])
        return
    assert isinstance(pair.value, yaml.SequenceNode)
    if pair.value.flow_style:
        line, column = pair.value.end_mark.line, pair.value.end_mark.column - 1
        old = document.lines[line]
        document.set_lines(line, 1, [f"{old[:column]}{', ' if pair.value.value else ''}{text}{old[column:]}"])
    else:
        column = pair.value.start_mark.column
        document.set_lines(last_line(pair.value) + 1, 0, [" " * column + f"- {text}"])


def comment(document: Document, node: yaml.Node, text: str) -> None:
    """Write a comment behind a value, which ends its line. It is dropped if there is one."""
    line = document.lines[node.end_mark.line]
    if not line[node.end_mark.column :].strip():
        document.set_lines(node.end_mark.line, 1, [f"{line.rstrip()}  # {' '.join(text.split())}"])


def move_children(document: Document, name: str, target_name: str) -> bool:
    """Move what a top-level section has to the end of another one, with the comment above its key.

    Returns:
        Whether that is possible: whether both are lists, or both are mappings.
    """
    for key in (name, target_name):
        to_block(document, key)
    pair, other = document.pair(name), document.pair(target_name)
    assert pair
    assert other
    source, target = pair.value, other.value
    if not isinstance(source, yaml.CollectionNode) or not isinstance(target, type(source)):
        return False
    first, last = first_line(document, pair), pair.key.start_mark.line
    end, column = last_line(source) + 1, target.start_mark.column
    while end < len(document.lines) and document.lines[end].startswith(" " * source.start_mark.column + "#"):
        end += 1
    header = [*document.lines[first:last], comment_behind(document.lines[last])]
    comments = [" " * column + line.strip() for line in header if line]
    body = [indented(line, column - source.start_mark.column) for line in document.lines[last + 1 : end]]
    place = last_line(target) + 1
    if place > first:
        document.set_lines(place, 0, [*comments, *body])
        document.set_lines(first, end - first, [])
    else:
        document.set_lines(first, end - first, [])
        document.set_lines(place, 0, [*comments, *body])
    return True


def to_block(document: Document, name: str) -> None:
    """Write a section that is in brackets with one line for each element."""
    pair = document.pair(name)
    if pair is None or not isinstance(pair.value, yaml.CollectionNode) or not pair.value.flow_style:
        return
    node = pair.value
    rows = _rows(document, node, "  ")
    first, last = document.lines[pair.key.start_mark.line], document.lines[node.end_mark.line]
    header = (first[: node.start_mark.column].rstrip() + last[node.end_mark.column :]).rstrip()
    count = node.end_mark.line + 1 - pair.key.start_mark.line
    document.set_lines(pair.key.start_mark.line, count, [header, *rows])


def root_to_block(document: Document) -> None:
    """Write a config that is in brackets as a whole with one line for each key."""
    root = document.root
    if root.value and root.flow_style:
        start, end = root.start_mark.line, root.end_mark.line
        document.set_lines(start, end + 1 - start, _rows(document, root, ""))


def _rows(document: Document, node: yaml.CollectionNode, indent: str) -> list[str]:
    """Return a line for each element of a collection in brackets, with the comment behind it."""
    dash = "- " * isinstance(node, yaml.SequenceNode)
    ends = [item[1].end_mark if isinstance(item, tuple) else item.end_mark for item in node.value]
    starts = [item[0].start_mark if isinstance(item, tuple) else item.start_mark for item in node.value]
    rows = []
    for start, end, following in zip(starts, ends, [*starts[1:], node.end_mark], strict=True):
        gap = [line.partition("#")[2].strip() for line in _between(document, end, following)]
        text = " ".join(line.strip() for line in _between(document, start, end))
        rows.append(f"{indent}{dash}{text}" + "".join(f"  # {words}" for words in gap if words))
    return rows


def text_of(document: Document, node: yaml.Node) -> list[str]:
    """Return the lines of a value, the first one from where it begins."""
    if is_block_scalar(node):
        rows = document.lines[node.start_mark.line : last_line(node) + 1]
        return [rows[0][node.start_mark.column :], *rows[1:]]
    return _between(document, node.start_mark, node.end_mark)


def _between(document: Document, start: yaml.Mark, end: yaml.Mark) -> list[str]:
    """Return the text between two marks, by line."""
    rows = document.lines[start.line : end.line + 1]
    rows[-1] = rows[-1][: end.column]
    rows[0] = rows[0][start.column :]
    return rows


def comment_behind(line: str) -> str:
    """Return the comment at the end of a line that has a key and no value, "" for none."""
    _, sign, text = line.partition(" #")
    return f" #{text}" if sign else ""


def first_line(document: Document, pair: Pair) -> int:
    """Return the index of the first line of the comment above a key, or of the key's line."""
    return comments_above(document, pair.key.start_mark.line)


def comments_above(document: Document, number: int) -> int:
    """Return the index of the first line of the comment above a line, or of the line."""
    while number and document.lines[number - 1].lstrip().startswith("#"):
        number -= 1
    return number


def _starts_after_dash(document: Document, key: yaml.ScalarNode) -> bool:
    return document.lines[key.start_mark.line][: key.start_mark.column].strip() != ""


def _remove_in_brackets(document: Document, node: yaml.CollectionNode, number: int) -> None:
    spans = [
        (item[0].start_mark, item[1].end_mark) if isinstance(item, tuple) else (item.start_mark, item.end_mark)
        for item in node.value
    ]
    start, end = spans[number]
    if number:
        start = spans[number - 1][1]
    elif len(spans) > 1:
        end = spans[1][0]
    first, last = document.lines[start.line][: start.column], document.lines[end.line][end.column :]
    document.set_lines(start.line, end.line + 1 - start.line, [first + last])


def _replace_span(document: Document, node: yaml.Node, text: str) -> None:
    start, end = node.start_mark, node.end_mark
    line = document.lines[start.line][: start.column] + text + document.lines[end.line][end.column :]
    document.set_lines(start.line, end.line + 1 - start.line, [line])
