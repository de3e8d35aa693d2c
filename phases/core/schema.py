"""What a config.yaml may hold: the one model that validates it.

Each class is a mapping of the file; an attribute's type is what the key accepts.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from phases.core.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from phases.core.yamltree import Tree


class _Keys(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A mapping in which only the keys that are named may stand."""


class File(_Keys, kw_only=True, frozen=True):
    """A file or folder of the host, copied into the habitat."""

    source: str
    dest: str
    owner: str = ""
    mode: str = ""


class Volume(_Keys, kw_only=True, frozen=True):
    """A file or folder of the host, mounted while building (from phase 6 on) and while running."""

    source: str
    dest: str
    readonly: bool = False
    optional: bool = False


class Commands(_Keys, kw_only=True, frozen=True):
    """Scripts for one user: an element of the list form of `setup:`."""

    run_as: str = "user"
    commands: list[str]


Setup = dict[str, list[str]] | list[Commands]


class Repo(_Keys, kw_only=True, frozen=True):
    """A git repository, cloned into the habitat."""

    url: str
    path: str
    branch: str = ""
    ref: str = ""
    depth: int = 0
    owner: str = ""
    setup: list[str] = []


class VerifyFs(_Keys, kw_only=True, frozen=True):
    """Paths that must exist in the built habitat."""

    required_files: list[str] = []


class Entry(_Keys, kw_only=True, frozen=True):
    """How the habitat runs once it is built."""

    init_command: str = ""
    startup_delay: float = 0
    command: str = ""


class Config(_Keys, kw_only=True, frozen=True, rename={"verify_fs": "verify-fs"}):
    """A whole config.yaml; every key may come from any layer, but `name` from the habitat's own."""

    name: str = ""
    description: str = ""
    base_image: str = ""
    env: list[str] = []
    files: list[File] = []
    volumes: list[Volume] = []
    setup: Setup = []
    repos: list[Repo] = []
    verify_fs: VerifyFs = VerifyFs()
    tests: list[str] = []
    entry: Entry = Entry()
    debug: bool = False
    timeouts: dict[str, str] = {}


def validate(tree: Tree) -> Config:
    """The tree as typed values. Raises ConfigError with the line of the first thing that is wrong."""
    try:
        return msgspec.convert(tree.plain(), Config, strict=False)
    except msgspec.ValidationError as error:
        raise _invalid(str(error), tree) from error


# Keys of the tool that this one takes after.
_RENAMED = {"repositories": "repos", "container": "entry", "claude": "entry"}

_NAMES = {"array": "a list", "object": "a mapping", "str": "text", "int": "a whole number", "bool": "true or false"}
_NAMES |= {"float": "a number", "null": "nothing"}
_SEGMENT = re.compile(r"\[(\d+)\]|\[\.\.\.\]|\.?([^.\[\]]+)")


def _invalid(text: str, tree: Tree) -> ConfigError:
    """msgspec's message in a person's words, with the place in the file."""
    problem, _, at = text.partition(" - at `$")
    expected = re.fullmatch(r"Expected `(.*)`, got `(.*)`", problem)
    path: tuple[str | int, ...] = ()
    for index, key in _SEGMENT.findall(at.rstrip("`")):
        if index or key:
            path = (*path, int(index) if index else key)
        else:  # msgspec says only that it is some value of a mapping whose keys are free
            path = (*path, *_first_of_kind(tree, path, expected[2] if expected else ""))
    shown = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")
    prefix = f"{shown}: " if shown else ""
    if match := re.fullmatch(r"Object contains unknown field `(.*)`", problem):
        where = tree.origin_of((*path, match[1]))
        renamed = _RENAMED.get(match[1]) if not path else None
        remedy = f"it is called '{renamed}' now" if renamed else did_you_mean(match[1], _known_keys(path))
        return ConfigError(f"{prefix}unknown key '{match[1]}'", where=where, remedy=remedy)
    where = tree.origin_of(path)
    if match := re.fullmatch(r"Object missing required field `(.*)`", problem):
        if tree.at((*path, match[1])):
            remedy = "write a value; a lone ~ is nothing to YAML unless it is quoted"
            return ConfigError(f"{prefix}'{match[1]}' is empty", where=tree.origin_of((*path, match[1])), remedy=remedy)
        return ConfigError(f"{prefix}'{match[1]}' is missing", where=where, remedy="add it")
    if expected:
        wanted = " or ".join(_NAMES.get(word, word) for word in expected[1].split(" | "))
        return ConfigError(
            f"{prefix}must be {wanted}, is {_NAMES.get(expected[2], expected[2])}", where=where, remedy="mend it"
        )
    return ConfigError(f"{prefix}{problem[0].lower()}{problem[1:]}", where=where, remedy="mend it")


def _first_of_kind(tree: Tree, path: tuple[str | int, ...], kind: str) -> tuple[str, ...]:
    """The first key of the mapping at `path` whose value is of the JSON kind."""
    types = {"str": str, "array": list, "object": dict}
    mapping = tree.at(path)
    found = mapping.value.items() if mapping and isinstance(mapping.value, dict) else ()
    return next(((key,) for key, child in found if isinstance(child.value, types.get(kind, ()))), ())


def _known_keys(path: tuple[str | int, ...]) -> tuple[str, ...]:
    """The keys that the schema has at `path`."""
    models = {
        "files": File,
        "volumes": Volume,
        "setup": Commands,
        "repos": Repo,
        "verify-fs": VerifyFs,
        "entry": Entry,
    }
    return (models[str(path[0])] if path else Config).__struct_encode_fields__
