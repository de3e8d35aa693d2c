"""Convert the sections of a config in the older form, apart from `entry`, time limits and commands."""

from __future__ import annotations

import json
import posixpath
import re

import yaml

from phases.core.config.yaml_tree import NULLS
from phases.core.migrate.older_form import brackets, edits
from phases.core.migrate.older_form.document import Document, Pair, last_line
from phases.core.migrate.older_form.points import convert_point

#: Why keys have no counterpart.
LOST = {
    "tty": "a start in a terminal has one, and in a pipe none",
    "bypass_habitat_construction": "it gets the files of its layers; without one if SYSTEM_PATH, SHARED_PATH or "
    "LOCAL_PATH is empty in env",
    "disable_habitat_instructions": "no CLAUDE.md is put together",
    "instructions_file": "no CLAUDE.md is put together: copy one with files",
    "tag": "a habitat's images are called habitat-NAME",
    "access": "who may push is decided by the token",
    "shallow": "a clone has all commits, unless depth says how many",
}


def drop(document: Document, pair: Pair, shown: str, why: str = "") -> None:
    """Remove a pair that nothing of today corresponds to, and report it."""
    name = str(pair.key.value)
    document.report(pair.key, shown, "", why or LOST.get(name, f"there is no key {name} there"))
    if not edits.comment_out(document, pair):
        edits.remove(document, pair)


def quoted(text: str) -> str:
    """Return a text as YAML, also in brackets: as it is where that is the same text, or else in quotes."""
    is_plain = re.fullmatch(r"[\w./~$][\w./~$=@+-]*", text, re.ASCII) and text not in NULLS
    if is_plain:
        return text
    escaped = (
        json.dumps(char, ensure_ascii=False)[1:-1] if char.isprintable() or char in "\n\t" else f"\\U{ord(char):08X}"
        for char in text
    )
    return f'"{"".join(escaped)}"'


def image(document: Document) -> dict[str, str]:
    """Convert `image:`. Return the arguments for the build of its Dockerfile."""
    pair = document.pair("image")
    if pair is None:
        return {}
    if isinstance(pair.value, yaml.ScalarNode):
        if document.scalar("base_image"):
            drop(document, pair, "image", "base_image is set, too")
        else:
            rename_or_move(document, pair, "base_image")
        return {}
    args = _build_args(document)
    for name in document.names("image"):
        if name not in ("dockerfile", "build_args"):
            part = document.pair("image", name)
            assert part
            drop(document, part, f"image.{name}")
    pair = document.pair("image")
    assert pair
    name = posixpath.normpath(document.scalar("image", "dockerfile") or "Dockerfile")
    place, why = ("dockerfile", "") if name != "Dockerfile" else ("Dockerfile", "a file of this name is built")
    if "/" in name:
        place, why = "", f"{name} is not in the habitat's folder: put it there as Dockerfile"
    end = max(last_line(pair.value, pair.key), pair.key.start_mark.line) + 1
    if place and document.scalar("dockerfile"):
        place, why = "", "dockerfile is set, too"
    document.report(pair.key, "image.dockerfile", place, why)
    start = pair.key.start_mark.line
    lines = [line.strip() for line in document.lines[start + 1 : end] if line.lstrip().startswith("#")]
    behind = [edits.comment_behind(document.lines[start]).strip()] if pair.value.start_mark.line > start else []
    part = document.pair("image", "dockerfile")
    behind += edits.comments_of(document, part if part and not part.mapping.flow_style else pair)
    header = [f"dockerfile: {quoted(name)}"] if place == "dockerfile" else []
    lines[:0] = filter(None, ["  ".join([*header, *filter(None, behind)])])
    document.set_lines(start, end - start, lines)
    return args


def _build_args(document: Document) -> dict[str, str]:
    node = document.node("image", "build_args")
    if node is None:
        return {}
    args: dict[str, str] = {}
    if isinstance(node, yaml.MappingNode):
        args = {str(key.value): str(value.value) for key, value in node.value}
    elif isinstance(node, yaml.SequenceNode):
        pairs = [str(item.value).partition("=") for item in node.value]
        args = {name: value for name, _, value in pairs}
    pair = document.pair("image", "build_args")
    assert pair
    document.report(pair.key, "image.build_args", "Dockerfile", "as its ARGs")
    return args


def environment(document: Document) -> None:
    """Convert `environment:` to `env:`, a list of NAME=value."""
    for key in ("environment", "env"):
        _mapping_to_list(document, key)
        for index in reversed(document.indexes(key)):
            _quote_colon(document, key, index)
            text = document.scalar(key, index) or ""
            if "=" not in text:
                node = document.node(key, index)
                assert node
                document.report(node, f"{key}: {text}", "", "it has no value: write NAME=value")
                edits.remove_item(document, key, index)
    if pair := document.pair("environment"):
        rename_or_move(document, pair, "env")


def _quote_colon(document: Document, key: str, index: int) -> None:
    """Quote an item such as `TITLE=a: b`, which YAML reads as a mapping."""
    node = document.node(key, index)
    if isinstance(node, yaml.MappingNode) and not node.flow_style and len(node.value) == 1:
        name, value = node.value[0]
        if isinstance(value, yaml.ScalarNode) and name.start_mark.line == value.end_mark.line:
            document.set_lines(
                name.start_mark.line,
                1,
                [
                    document.lines[name.start_mark.line][: name.start_mark.column]
                    + quoted(f"{name.value}: {value.value}")
                    + document.lines[name.start_mark.line][value.end_mark.column :]
                ],
            )


def _mapping_to_list(document: Document, key: str) -> None:
    """Write `NAME: VALUE` as `- NAME=VALUE`, with the comments where they are."""
    node = document.node(key)
    if not isinstance(node, yaml.MappingNode):
        return
    if not node.value:
        edits.replace(document, node, "[]")
        return
    brackets.to_block(document, key)
    pair = existing(document, key)
    for name, value in reversed(pair.value.value):
        item = Pair(node, name, value)
        behind = "".join(f"  {text}" for text in edits.comments_of(document, item))
        rows = [" " * name.start_mark.column + f"- {quoted(f'{name.value}={value.value}')}{behind}"]
        if not isinstance(value, yaml.ScalarNode):
            document.report(name, f"{key}.{name.value}", "", "its value is not a text")
            rows = []
        start = name.start_mark.line
        document.set_lines(start, last_line(value, name) + 1 - start, rows)


def rename_or_move(document: Document, pair: Pair, name: str) -> None:
    """Give a top-level key its name of today, or move what it has to the key of that name."""
    document.report(pair.key, str(pair.key.value), name)
    move(document, str(pair.key.value), name)


def move(document: Document, old: str, name: str) -> None:
    """Give a top-level key another name, or move what it has to the key of that name. Report only what can't be moved.

    A key of today wins over one with the same name in a section that is moved.
    """
    target = document.pair(name)
    if target and not target.value.value:
        edits.remove(document, target)
        target = None
    if target is None:
        edits.rename(document, existing(document, old), name)
        return
    for key in document.names(old):
        if key in document.names(name):
            drop(document, existing(document, old, key), f"{old}.{key}", f"{name} already has it")
    pair = existing(document, old)
    if not pair.value.value:
        edits.remove(document, pair)
    elif not edits.move_children(document, (old,), (name,)):
        document.report(existing(document, old).key, old, "", f"{name} is not of the same kind: write one of them")


def existing(document: Document, *path: str | int) -> Pair:
    """Return the pair at a path, which is there."""
    pair = document.pair(*path)
    assert pair
    return pair


def repos(document: Document) -> None:
    """Convert `repositories:`, and the keys of repositories."""
    if pair := document.pair("repositories"):
        rename_or_move(document, pair, "repos")
    for index in document.indexes("repos"):
        if pair := document.pair("repos", index, "shallow"):
            if str(pair.value.value).lower() == "true" and not document.pair("repos", index, "depth"):
                document.report(pair.key, "shallow", f"repos[{index}].depth")
                edits.replace(document, pair.value, "1")
                edits.rename(document, existing(document, "repos", index, "shallow"), "depth")
            else:
                drop(document, pair, "shallow")
        if pair := document.pair("repos", index, "access"):
            drop(document, pair, "access")


def files(document: Document) -> None:
    """Convert the keys of `files:`."""
    for index in document.indexes("files"):
        path = ("files", index)
        pair = document.pair(*path, "src")
        if pair and document.scalar(*path, "source"):
            drop(document, pair, "files[].src", "source is set, too")
        elif pair:
            if source := document.pair(*path, "source"):
                edits.remove(document, source)
                pair = existing(document, *path, "src")
            document.report(pair.key, "files[].src", f"files[{index}].source")
            edits.rename(document, pair, "source")
        if pair := document.pair(*path, "description"):
            if pair.mapping.flow_style:
                brackets.to_block(document, "files")
                pair = existing(document, *path, "description")
            text = str(pair.value.value) if isinstance(pair.value, yaml.ScalarNode) else ""
            document.report(pair.key, "files[].description", f"files[{index}]" if text else "", "as a comment")
            edits.remove(document, pair)
            if text and (item := document.node(*path)):
                edits.comment(document, item, text)
        if (owner := document.pair(*path, "owner")) and owner.value.value in ("${USER}", "$USER"):
            edits.remove(document, owner)
        convert_point(document, *path)


def names_of_layer(document: Document) -> None:
    """Remove `name` and `description` of a layer below the habitat's: they would be those of every habitat."""
    for name in ("name", "description"):
        if pair := document.pair(name):
            drop(document, pair, name, "only a habitat has one")
