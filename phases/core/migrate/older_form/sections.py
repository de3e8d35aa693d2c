"""Convert the sections of a config in the older form, apart from `entry`, time limits and commands."""

from __future__ import annotations

import json
import posixpath
import re

import yaml

from phases.core.config.mounts.volumes import split_short_form
from phases.core.migrate.older_form import edits
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

# As `docker run --volume` tells a volume with a name from a folder of the host.
_VOLUME_NAME = re.compile(r"[A-Za-z0-9][\w.-]*", re.ASCII)

# Options of `docker run --volume` about labels of SELinux, the consistency on a Mac, and propagation.
_OPTIONS_OF_ENGINE = (
    *("z", "Z", "cached", "consistent", "delegated", "nocopy"),
    *("private", "rprivate", "rshared", "rslave", "shared", "slave"),
)


def drop(document: Document, pair: Pair, shown: str, why: str = "") -> None:
    """Remove a pair that nothing of today corresponds to, and report it."""
    name = str(pair.key.value)
    document.report(pair.key, shown, "", why or LOST.get(name, f"there is no key {name} there"))
    if not edits.comment_out(document, pair):
        edits.remove(document, pair)


def quoted(text: str) -> str:
    """Return a text as YAML, as it is where that is the same text."""
    is_plain = re.fullmatch(r"[\w./~$][\w./~$={}@+-]*", text) is not None
    return text if is_plain else json.dumps(text, ensure_ascii=False)


def image(document: Document) -> dict[str, str]:
    """Convert `image:`. Return the arguments for the build of its Dockerfile."""
    pair = document.pair("image")
    if pair is None:
        return {}
    if isinstance(pair.value, yaml.ScalarNode):
        document.report(pair.key, "image", "base_image")
        edits.rename(document, pair, "base_image")
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
    document.report(pair.key, "image.dockerfile", place, why)
    end = max(last_line(pair.value, pair.key), pair.key.start_mark.line) + 1
    lines = [f"dockerfile: {quoted(name)}"] if place == "dockerfile" else []
    document.set_lines(pair.key.start_mark.line, end - pair.key.start_mark.line, lines)
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
    pair = document.pair(key)
    if pair is None or not isinstance(pair.value, yaml.MappingNode):
        return
    items = [f"{name.value}={value.value}" for name, value in pair.value.value]
    start = pair.key.start_mark.line
    rows = [f"{key}:", *(f"  - {quoted(item)}" for item in items)]
    document.set_lines(start, last_line(pair.value, pair.key) + 1 - start, rows)


def rename_or_move(document: Document, pair: Pair, name: str) -> None:
    """Give a top-level key its name of today, or move what it has to the key that is there."""
    old = str(pair.key.value)
    target = document.pair(name)
    if target and not target.value.value:
        edits.remove(document, target)
        target, pair = None, existing(document, old)
    document.report(pair.key, old, name)
    if target is None:
        edits.rename(document, pair, name)
    elif not pair.value.value:
        edits.remove(document, pair)
    elif not edits.move_children(document, old, name):
        document.rows[-1].place, document.rows[-1].why = "", f"{name} is there too, and of another kind"


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
        if pair := document.pair(*path, "src"):
            document.report(pair.key, "files[].src", f"files[{index}].source")
            edits.rename(document, pair, "source")
        if pair := document.pair(*path, "description"):
            text = str(pair.value.value)
            document.report(pair.key, "files[].description", f"files[{index}]", "as a comment")
            edits.remove(document, pair)
            if source := document.pair(*path, "source"):
                edits.comment(document, source.value, text)
        if (owner := document.pair(*path, "owner")) and owner.value.value in ("${USER}", "$USER"):
            edits.remove(document, owner)
        convert_point(document, *path)


def volumes(document: Document) -> None:
    """Convert volumes of the form SOURCE:DEST[:OPTION,…] that a config of today has in another form."""
    for index in reversed(document.indexes("volumes")):
        node = document.node("volumes", index)
        parts = split_short_form(str(node.value)) if isinstance(node, yaml.ScalarNode) else None
        if node is None or parts is None:
            continue
        if _VOLUME_NAME.fullmatch(parts.source):
            why = "a volume with a name: use entry.persist, or caches while building"
            document.report(node, str(node.value), "", why)
            edits.remove_item(document, "volumes", index)
            continue
        options = [option for option in parts.options if option not in _OPTIONS_OF_ENGINE]
        if parts.source.endswith(".sock"):
            keys = {"source": parts.source, "dest": parts.dest} | ({"readonly": "true"} if "ro" in options else {})
            keys["gives_root_on_the_host"] = "true"
            why = "who can use it is root on this machine: the program asks you before it mounts it"
            new = "{" + ", ".join(f"{key}: {quoted(text)}" for key, text in keys.items()) + "}"
        elif len(options) < len(parts.options):
            why = f"without {','.join(option for option in parts.options if option not in options)}"
            new = quoted(":".join(filter(None, (parts.source, parts.dest, ",".join(options)))))
        else:
            continue
        document.report(node, str(node.value), f"volumes[{index}]", why)
        edits.replace(document, node, new)


def names_of_layer(document: Document) -> None:
    """Remove `name` and `description` of a layer below the habitat's: they would be those of every habitat."""
    for name in ("name", "description"):
        if pair := document.pair(name):
            drop(document, pair, name, "only a habitat has one")
