"""Check a merged config against the schema, and report each problem in plain words, with its file and line."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from phases.core.config import schema
from phases.core.config.layers import personal
from phases.core.config.yaml_tree import Tree
from phases.core.errors import ConfigError, did_you_mean
from phases.core.json_types import dotted
from phases.core.problems import Consequence

if TYPE_CHECKING:
    from collections.abc import Sequence

    from phases.core.json_types import Key
    from phases.core.problems import Problems

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


def validate(tree: Tree, problems: Problems) -> schema.Config:
    """Return a merged config as typed values.

    msgspec reports only the first error. So each value with an error gets another one in its place, which the schema
    allows, and the rest is checked.

    Args:
        tree: The config. Values with an error are replaced in it, and marked.
        problems: Collects the errors.

    Raises:
        ConfigError: There are errors that leave nothing to check. They are in `problems`, too.
    """
    config = None
    goes_on = True
    while config is None and goes_on and not problems.are_too_many:
        try:
            config = msgspec.convert(tree.plain(), schema.Config, strict=False)
        except msgspec.ValidationError as error:
            goes_on = _collect(str(error), tree, problems)
    # msgspec doesn't get the keys without a value. Below `setup` and `timeouts` any key is allowed.
    for *path, key in tree.empty_keys():
        if path[:1] not in (["setup"], ["timeouts"]) and key not in _known_keys(tuple(path)):
            problems.add(_unknown_key(str(key), tuple(path), tree))
    if config is None:
        problems.raise_all()
        raise Consequence
    return config


def _collect(text: str, tree: Tree, problems: Problems) -> bool:
    """Collect the error of a message of msgspec, and remove its cause from the tree. Returns whether that was done."""
    problem, _, at = text.partition(" - at `$")
    types = re.fullmatch(r"Expected `(.*)`, got `(.*)`", problem)
    segments = [int(index) if index else key or None for index, key in _SEGMENT.findall(at.rstrip("`"))]
    path = _resolved(tree, segments, types[2] if types else "")
    value = tree.at(path) or tree
    if match := re.fullmatch(r"Object contains unknown field `(.*)`", problem):
        problems.add(_unknown_key(match[1], path, tree))
        _mapping(value).pop(match[1])
        value.is_wrong = True  # the key may be another one that is misspelt
    elif match := re.fullmatch(r"Object missing required field `(.*)`", problem):
        if not value.is_wrong:
            problems.add(_missing_key(match[1], path, tree))
        _mapping(value)[match[1]] = Tree("", value.origin, is_wrong=True)
    else:
        if not value.is_wrong:
            problems.add(_translated(problem, types, path, tree))
        filler = _filler(types[1].partition(" ")[0] if types else "")
        if not path or value.value == filler:
            return False
        value.value = filler
        value.is_wrong = True
    return True


def _mapping(tree: Tree) -> dict[str, Tree]:
    assert isinstance(tree.value, dict)
    return tree.value


def _filler(kind: str) -> str | list[Tree] | dict[str, Tree]:
    """Return a value of a type of msgspec, as a config has it."""
    fillers: dict[str, str | list[Tree] | dict[str, Tree]] = {"array": [], "object": {}, "bool": "false", "str": ""}
    return fillers.get(kind, "0")


def _translated(problem: str, types: re.Match[str] | None, path: Key, tree: Tree) -> ConfigError:
    """Return the error for a message of msgspec."""
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
    if (key, path) == ("identity", ()):
        remedy = f"write it into your personal config, {personal.shown_file()}"
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
    below_entry: dict[Key, type[msgspec.Struct]] = {
        ("ready",): schema.ReadyKeys,
        ("network",): schema.NetworkKeys,
        ("files",): schema.EntryFileKeys,
        ("persist",): schema.PersistKeys,
    }
    models: dict[str, type[msgspec.Struct]] = {
        "files": schema.FileKeys,
        "volumes": schema.VolumeKeys,
        "secrets": schema.SecretKeys,
        "caches": schema.CacheKeys,
        "setup": schema.CommandsKeys,
        "hooks": schema.HookKeys,
        "repos": schema.RepoKeys,
        "verify-fs": schema.VerifyFsKeys,
        "tests": schema.TestKeys,
        "take": schema.TakeKeys,
        "instructions": schema.InstructionKeys,
        "entry": below_entry.get(path[1:2], schema.EntryKeys),
        "build": schema.BuildKeys,
    }
    model = schema.LimitsKeys if path[1:2] == ("limits",) else models[str(path[0])] if path else schema.Config
    return model.__struct_encode_fields__
