"""Check a merged config against the schema, and report the first problem in plain words, with its file and line."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from phases.core.config import schema
from phases.core.errors import ConfigError, did_you_mean
from phases.core.json_types import dotted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from phases.core.config.yaml_tree import Tree
    from phases.core.json_types import Key

# The words for msgspec's types, and for what to write instead.
_TYPES = {
    "array": "a list",
    "object": "a mapping",
    "str": "text",
    "int": "a whole number",
    "bool": "true or false",
    "float": "a number",
    "null": "nothing",
}
_REMEDIES = {
    "str": "write one value",
    "array": "write a list, each element after a dash",
    "object": "write keys with values",
    "bool": "write true or false",
}

# A part of a path in msgspec's messages: an index, `[...]` for some value of a mapping, or a key.
_SEGMENT = re.compile(r"\[(\d+)\]|\[\.\.\.\]|\.?([^.\[\]]+)")


def validate(tree: Tree) -> schema.Config:
    """Return a merged config as typed values.

    Raises:
        ConfigError: With the line of the first value that is wrong.

    """
    try:
        config = msgspec.convert(tree.plain(), schema.Config, strict=False)
    except msgspec.ValidationError as error:
        raise _translated(str(error), tree) from error
    # msgspec doesn't get the keys without a value. Below `setup` and `timeouts` any key is allowed.
    for *path, key in tree.empty_keys():
        if path[:1] not in (["setup"], ["timeouts"]) and key not in _known_keys(tuple(path)):
            raise _unknown_key(str(key), tuple(path), tree)
    return config


def _translated(text: str, tree: Tree) -> ConfigError:
    """Return the error for a message of msgspec."""
    problem, _, at = text.partition(" - at `$")
    types = re.fullmatch(r"Expected `(.*)`, got `(.*)`", problem)
    segments = [int(index) if index else key or None for index, key in _SEGMENT.findall(at.rstrip("`"))]
    path = _resolved(tree, segments, types[2] if types else "")
    if match := re.fullmatch(r"Object contains unknown field `(.*)`", problem):
        return _unknown_key(match[1], path, tree)
    if match := re.fullmatch(r"Object missing required field `(.*)`", problem):
        return _missing_key(match[1], path, tree)
    if types:
        expected = " or ".join(_TYPES.get(word, word) for word in types[1].split(" | "))
        problem = f"must be {expected}, is {_TYPES.get(types[2], types[2])}"
        remedy = _remedy(types[1], types[2], path)
    else:
        problem = problem[0].lower() + problem[1:]
        remedy = f"see `{path[0]}` in docs/config.md" if path else "see docs/config.md"
    return ConfigError(_prefix(path) + problem, where=tree.origin_of(path), remedy=remedy)


def _unknown_key(key: str, path: Key, tree: Tree) -> ConfigError:
    remedy = did_you_mean(key, _known_keys(path))
    return ConfigError(f"{_prefix(path)}unknown key '{key}'", where=tree.origin_of((*path, key)), remedy=remedy)


def _missing_key(key: str, path: Key, tree: Tree) -> ConfigError:
    is_empty = tree.at((*path, key)) is not None
    problem = f"{_prefix(path)}'{key}' is {'empty' if is_empty else 'missing'}"
    remedy = "write a value; put quotes around ~ if you mean it, since YAML reads it as no value"
    return ConfigError(problem, where=tree.origin_of((*path, key)), remedy=remedy if is_empty else "add it")


def _prefix(path: Key) -> str:
    return f"{dotted(*path)}: " if path else ""


def _resolved(tree: Tree, segments: Sequence[str | int | None], kind: str) -> Key:
    """Return the path that msgspec means.

    For a mapping in which any key is allowed, msgspec doesn't name the key. This returns the first key that leads to a
    value of the wrong type.

    Args:
        tree: The config.
        segments: The path, with None for such a key.
        kind: The JSON type of the value.
    """
    types: dict[str, type] = {"str": str, "array": list, "object": dict}
    if None not in segments:
        return tuple(part for part in segments if part is not None)
    gap = segments.index(None)
    above = tuple(part for part in segments[:gap] if part is not None)
    mapping = tree.at(above)
    for key in mapping.value if mapping and isinstance(mapping.value, dict) else ():
        path = _resolved(tree, [*above, key, *segments[gap + 1 :]], kind)
        value = tree.at(path)
        if value and isinstance(value.value, types.get(kind, object)):
            return path
    return above


def _remedy(expected: str, actual: str, path: Key) -> str:
    """Return what to write in place of a value of the wrong type."""
    if path[:1] == ("setup",) and expected.startswith("object"):
        return "write root: or user:, and a list of scripts below"
    if expected == "str" and actual == "object":
        return "quote it: a colon and a space make a mapping"
    return _REMEDIES.get(expected.partition(" ")[0], "write a number")


def _known_keys(path: Key) -> tuple[str, ...]:
    """Return the keys that the schema has at `path`."""
    models: dict[str, type[msgspec.Struct]] = {
        "files": schema.FileKeys,
        "volumes": schema.VolumeKeys,
        "secrets": schema.SecretKeys,
        "caches": schema.CacheKeys,
        "setup": schema.CommandsKeys,
        "hooks": schema.HookKeys,
        "repos": schema.RepoKeys,
        "verify-fs": schema.VerifyFsKeys,
        "entry": schema.ReadyKeys if path[1:2] == ("ready",) else schema.EntryKeys,
        "build": schema.BuildKeys,
    }
    model = schema.LimitsKeys if path[1:2] == ("limits",) else models[str(path[0])] if path else schema.Config
    return model.__struct_encode_fields__
