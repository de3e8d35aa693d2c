"""Convert `scripts:` and `setup:` of the older form to hooks, or to `setup:` of today."""

from __future__ import annotations

from typing import TYPE_CHECKING

import yaml

from phases.core.migrate.older_form import brackets, edits
from phases.core.migrate.older_form.document import Document, Pair, indented, last_line
from phases.core.migrate.older_form.points import convert_point
from phases.core.migrate.older_form.sections import drop, existing, move, quoted

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_HOOK_KEYS = ("run_as", "before", "after", "commands", "description")


def scripts(document: Document, user: str) -> None:
    """Convert `scripts:` to `hooks:`. `user` is USER, as the config sets it."""
    pair = document.pair("scripts")
    if pair is None:
        return
    _sort(document, [_order(document, index) for index in document.indexes("scripts")])
    for index in document.indexes("scripts"):
        _script(document, index, user)
    for index in reversed(document.indexes("scripts")):
        node = document.node("scripts", index, "commands")
        if node is None or not node.value:
            item = document.node("scripts", index)
            assert item
            document.report(item, f"scripts[{index}]", "", "it has no commands")
            edits.remove_item(document, "scripts", index)
    pair = document.pair("scripts")
    assert pair
    if not pair.value.value:
        edits.remove(document, pair)
        return
    document.report(pair.key, "scripts", "hooks")
    move(document, "scripts", "hooks")


def _order(document: Document, index: int) -> int:
    """Return when the older tool ran a script that runs after tools today: 1 to 4, 0 for another point."""
    before, after = (document.scalar("scripts", index, when) for when in ("before", "after"))
    if before or after:
        return {("scripts", None): 2, (None, "tools"): 1, (None, "scripts"): 4}.get((before, after), 0)
    return 3


def _sort(document: Document, orders: Sequence[int]) -> None:
    """Put the scripts that run after tools today into the order in which they ran, each with the comment above it."""
    places = [index for index, order in enumerate(orders) if order]
    wanted = sorted(places, key=lambda index: orders[index])
    if wanted == places:
        return
    brackets.to_block(document, "scripts")
    node = document.node("scripts")
    assert node
    starts = [edits.comments_above(document, edits.line_of_item(document, item)) for item in node.value]
    ends = [*starts[1:], last_line(node) + 1]
    items = [document.lines[start:end] for start, end in zip(starts, ends, strict=True)]
    sources = dict(zip(places, wanted, strict=True))
    rows = [row for index in range(len(items)) for row in items[sources.get(index, index)]]
    document.set_lines(starts[0], ends[-1] - starts[0], rows)


def _script(document: Document, index: int, user: str) -> None:
    path = ("scripts", index)
    for name in document.names(*path):
        if name not in _HOOK_KEYS and (pair := document.pair(*path, name)):
            drop(document, pair, f"scripts[{index}].{name}")
    _commands_to_list(document, *path)
    if (pair := document.pair(*path, "run_as")) and _is_user(str(pair.value.value).strip(), user):
        edits.replace(document, pair.value, "user")
    has_point = convert_point(document, *path)
    node = document.node(*path)
    if not has_point and isinstance(node, yaml.MappingNode) and node.value:
        edits.insert(document, node, "after: tools")


def _commands_to_list(document: Document, *path: str | int, key: str = "commands") -> None:
    """Write a single command as a list, and remove blank ones."""
    pair = document.pair(*path, key)
    if pair is None:
        return
    if isinstance(pair.value, yaml.ScalarNode) and pair.value.value.strip():
        if pair.mapping.flow_style:
            edits.replace(document, pair.value, f"[{quoted(str(pair.value.value))}]")
        else:
            _wrap(document, pair)
    for index in reversed(document.indexes(*path, key)):
        text = document.scalar(*path, key, index)
        if text is not None and not text.strip():
            edits.remove_item(document, *path, key, index)


def _wrap(document: Document, pair: Pair) -> None:
    """Make a list of one text. The text keeps its lines."""
    start, end = pair.value.start_mark, last_line(pair.value)
    first = document.lines[start.line]
    column = pair.key.start_mark.column + 2
    rows = [first[: start.column].rstrip(), " " * column + f"- {first[start.column :]}"]
    rows += [indented(line, 2) for line in document.lines[start.line + 1 : end + 1]]
    document.set_lines(start.line, end + 1 - start.line, rows)


def _is_user(name: str, user: str) -> bool:
    return name in ("", "${USER}", "$USER", "user") or (name == user != "root")


def setup(document: Document, user: str, *, after_repos: bool) -> None:
    """Convert `setup:` with `user: {run_as, commands}`.

    Args:
        document: The config.
        user: USER, as the config sets it.
        after_repos: Whether the older tool ran it after the clones; then it becomes hooks after them.
    """
    blocks = [name for name in document.names("setup") if isinstance(document.node("setup", name), yaml.MappingNode)]
    if not blocks:
        return
    brackets.to_block(document, "setup")
    # Two users may be one, or have each other's names.
    names = {f"{name} of the older form": _unwrap(document, name, user) for name in blocks}
    for name, new in names.items():
        if new:
            _rename_or_append(document, name, new)
    if after_repos and document.indexes("repos"):
        _to_hooks(document, document.names("setup"))


def _unwrap(document: Document, name: str, user: str) -> str:
    """Write `NAME: {run_as: USER, commands: LIST}` as `NAME of the older form: LIST`.

    Returns:
        The key that it has today, "" if it has no commands.
    """
    path = ("setup", name)
    brackets.to_block(document, *path)
    _commands_to_list(document, *path)
    run_as = (document.scalar(*path, "run_as") or "").strip()
    for key in document.names(*path):
        pair = existing(document, *path, key)
        if key == "run_as":
            edits.remove(document, pair)
        elif key != "commands":
            drop(document, pair, f"setup.{name}.{key}")
    new = "user" if _is_user(run_as, user) else run_as
    pair, commands = existing(document, *path), document.node(*path, "commands")
    document.report(pair.key, f"setup.{name}.run_as", f"setup.{new}")
    if not isinstance(commands, yaml.SequenceNode) or not commands.value:
        document.rows[-1].place, document.rows[-1].why = "", "it has no list of commands"
        edits.remove(document, pair)
        return ""
    edits.replace_by_child(document, pair, "commands")
    edits.rename(document, existing(document, *path), f"{name} of the older form")
    return new


def _rename_or_append(document: Document, name: str, target: str) -> None:
    """Give the commands of a user in `setup:` the key of today, or append them to those that it has."""
    if document.scalar("setup", target):
        _commands_to_list(document, "setup", key=target)
    if document.indexes("setup", target):
        edits.move_children(document, ("setup", name), ("setup", target))
        return
    if empty := document.pair("setup", target):
        edits.remove(document, empty)
    edits.rename(document, existing(document, "setup", name), quoted(target))


def _to_hooks(document: Document, users: Iterable[str]) -> None:
    """Write `setup:` with its users as hooks after phase repos, root's first."""
    for name in users:
        _commands_to_list(document, "setup", key=name)
    pair = existing(document, "setup")
    first = pair.key.start_mark.line
    rows: list[str] = []
    for name in sorted(users, key=lambda user: user != "root"):
        block = document.pair("setup", name)
        assert block
        if not block.value.value:
            continue
        start, end = block.key.start_mark.line, last_line(block.value, block.key) + 1
        comments = start
        while comments - 1 > first and document.lines[comments - 1].lstrip().startswith("#"):
            comments -= 1
        rows += ["  " + line.strip() for line in document.lines[comments:start]]
        rows += [f"  - run_as: {quoted(name)}", "    after: repos"]
        value = block.value
        if isinstance(value, yaml.SequenceNode) and not value.flow_style:
            shift = max(6 - value.start_mark.column, 0)
            behind = edits.comment_behind(document.lines[start])
            rows += [f"    commands:{behind}", *(indented(line, shift) for line in document.lines[start + 1 : end])]
        else:
            text = edits.text_of(document, value)
            text[-1] += "".join(f"  {words}" for words in edits.comments_of(document, block))
            rows += [f"    commands: {text[0]}", *text[1:]]
    document.report(pair.key, "setup", "hooks", "after phase repos, as they ran after the clones")
    end = last_line(pair.value, pair.key) + 1
    document.set_lines(first, end - first, [f"setup:{edits.comment_behind(document.lines[first])}", *rows])
    move(document, "setup", "hooks")
