"""Changes of a `Document`: each replaces, inserts or removes whole lines, or parts of one line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import yaml

from phases.core.migrate.older_form.brackets import remove_element, to_block
from phases.core.migrate.older_form.document import Pair, between, indented, is_absent, is_block_scalar, last_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from phases.core.migrate.older_form.document import Document


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
    """Remove a pair with its lines; the comment behind its value stays. A mapping without other pairs is empty then."""
    pairs, number = pair.mapping.value, pair.mapping.value.index((pair.key, pair.value))
    if pair.mapping.flow_style:
        remove_element(document, pair.mapping, number)
        return
    start, end = pair.key.start_mark, last_line(pair.value, pair.key) + 1
    before = document.lines[start.line][: start.column]
    rows = [" " * (len(before) - len(before.lstrip())) + text.strip() for text in comments_of(document, pair)]
    if not before.strip():
        document.set_lines(start.line, end - start.line, rows)
    elif len(pairs) == 1:
        document.set_lines(start.line, end - start.line, [*rows, before + "{}"])
    else:
        following = pairs[number + 1][0].start_mark
        line = before + document.lines[following.line][following.column :]
        document.set_lines(
            start.line, following.line + 1 - start.line, [*rows, *document.lines[end : following.line], line]
        )


def comments_of(document: Document, pair: Pair) -> list[str]:
    """Return the comments in the lines of a pair in a block, apart from those in its value."""
    ends = [pair.key.end_mark, pair.value.start_mark]
    if is_block_scalar(pair.value):
        start = pair.value.start_mark
        gaps = [*between(document, *ends), document.lines[start.line][start.column :]]
    elif isinstance(pair.value, yaml.CollectionNode) and not pair.value.flow_style:
        gaps = between(document, *ends)
    else:
        line = document.lines[pair.value.end_mark.line]
        gaps = [*between(document, *ends), line[pair.value.end_mark.column :]]
    return [f"#{text}" for _, sign, text in (gap.partition("#") for gap in gaps) if sign]


def comment_out(document: Document, pair: Pair) -> bool:
    """Make a comment of a pair whose lines have one. Return whether that was done."""
    start, end = pair.key.start_mark, last_line(pair.value, pair.key) + 1
    rows = document.lines[start.line : end]
    if pair.mapping.flow_style or _starts_after_dash(document, pair.key) or " #" not in "".join(rows):
        return False
    indent = " " * start.column
    document.set_lines(start.line, end - start.line, [f"{indent}# {row[start.column :]}".rstrip() for row in rows])
    return True


def remove_item(document: Document, *path: str | int) -> None:
    """Remove an item of a list."""
    *above, index = path
    items = document.node(*above)
    assert isinstance(items, yaml.SequenceNode)
    assert isinstance(index, int)
    if items.flow_style:
        remove_element(document, items, index)
    else:
        start = line_of_item(document, items.value[index])
        document.set_lines(start, last_line(items.value[index]) + 1 - start, [])


def line_of_item(document: Document, item: yaml.Node) -> int:
    """Return the index of the line with the dash of an item of a list in a block. The item may begin below it."""
    number, column = item.start_mark.line, item.start_mark.column
    while number and not document.lines[number][:column].lstrip().startswith("-"):
        number, column = number - 1, len(document.lines[number - 1])
    return number


def add_item(document: Document, key: str, text: str, *, at: int) -> bool:
    """Append an item to the top-level list `key`, which is written behind the line `at` if it is missing.

    Returns:
        Whether that was possible: whether the key has a list.
    """
    pair = document.pair(key)
    if pair is None or not pair.value.value:
        header = f"{key}:"
        if pair:
            header += "".join(f"  {text}" for text in comments_of(document, pair)[:1])
            at = pair.key.start_mark.line - 1
            document.set_lines(at + 1, last_line(pair.value, pair.key) - at, [])
        document.set_lines(at + 1, 0, [header, f"  - {text}"])
        return True
    if not isinstance(pair.value, yaml.SequenceNode):
        return False
    if pair.value.flow_style:
        end = pair.value.value[-1].end_mark
        line = document.lines[end.line]
        document.set_lines(end.line, 1, [f"{line[: end.column]}, {text}{line[end.column :]}"])
        return True
    column = pair.value.start_mark.column
    document.set_lines(last_line(pair.value) + 1, 0, [" " * column + f"- {text}"])
    return True


def comment(document: Document, node: yaml.Node, text: str) -> None:
    """Write a comment behind an item of a block list, if its first line ends there, or else above it."""
    first = line_of_item(document, node)
    words = f"# {' '.join(text.split())}"
    line = document.lines[first]
    is_block = isinstance(node, yaml.MappingNode) and not node.flow_style and bool(node.value)
    value = node.value[0][1] if is_block else node
    end = value.end_mark
    if end.line == first and not is_block_scalar(value) and not line[end.column :].strip():
        document.set_lines(first, 1, [f"{line.rstrip()}  {words}"])
    else:
        document.set_lines(first, 0, [" " * (len(line) - len(line.lstrip())) + words])


def move_children(document: Document, path: Sequence[str], target_path: Sequence[str]) -> bool:
    """Move what a section has to the end of another one, with the comment above its key.

    Returns:
        Whether that is possible: whether both are lists, or both are mappings.
    """
    for each in (path, target_path):
        to_block(document, *each)
    pair, other = document.pair(*path), document.pair(*target_path)
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


def replace_by_child(document: Document, pair: Pair, name: str) -> None:
    """Give a key the value of the only key `name` in its block, and keep the comments between them."""
    assert isinstance(pair.value, yaml.MappingNode)
    child = next(Pair(pair.value, key, value) for key, value in pair.value.value if key.value == name)
    start, key = pair.key.start_mark, child.key.start_mark
    header, *above = document.lines[start.line : key.line]
    if isinstance(child.value, yaml.CollectionNode) and not child.value.flow_style:
        behind = " " * key.column + comment_behind(document.lines[key.line]).strip()
        body = document.lines[key.line + 1 : last_line(child.value) + 1]
        rows = [header, *above, *([behind] if behind.strip() else []), *body]
    else:
        text = between(document, child.value.start_mark, child.value.end_mark)
        text[-1] += "".join(f"  {words}" for words in comments_of(document, child))
        first, sign, words = header.partition(" #")
        rows = [*([" " * start.column + f"#{words}"] if sign else []), *above, f"{first.rstrip()} {text[0]}", *text[1:]]
    document.set_lines(start.line, last_line(child.value) + 1 - start.line, rows)


def text_of(document: Document, node: yaml.Node) -> list[str]:
    """Return the lines of a value, the first one from where it begins."""
    if is_block_scalar(node):
        rows = document.lines[node.start_mark.line : last_line(node) + 1]
        return [rows[0][node.start_mark.column :], *rows[1:]]
    return between(document, node.start_mark, node.end_mark)


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


def _replace_span(document: Document, node: yaml.Node, text: str) -> None:
    start, end, last = node.start_mark, node.end_mark, last_line(node)
    before = document.lines[start.line][: start.column]
    if is_absent(node) and before.endswith(":"):
        before += " "
    if is_block_scalar(node):
        behind = comment_behind(document.lines[start.line][start.column :])
    else:
        behind = document.lines[end.line][end.column :]
    document.set_lines(start.line, last + 1 - start.line, [before + text + behind])
