"""What a config.yaml may hold: the one model that validates it.

Each class is a mapping of the file; an attribute's type is what the key accepts.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from phases.core.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from phases.core.config.yamltree import Tree


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
    gives_root_on_the_host: bool = False


class Secret(_Keys, kw_only=True, frozen=True):
    """Something that commands may read and no image may hold; it comes from one of env, file, command."""

    name: str
    env: str = ""
    file: str = ""
    command: str = ""
    phases: list[str] = []
    start: bool = False
    variable: str = ""
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
    token: str = ""
    ssh_agent: bool = False
    known_hosts: str = ""
    setup: list[str] = []


class VerifyFs(_Keys, kw_only=True, frozen=True):
    """Paths that must exist in the built habitat."""

    required_files: list[str] = []


class Limits(_Keys, kw_only=True, frozen=True):
    """What a running habitat may take of the machine; 0 is no limit."""

    memory: str = ""
    cpus: float = 0
    pids: int = 0


class Ready(_Keys, kw_only=True, frozen=True):
    """A command that succeeds once the running habitat is ready."""

    command: str
    interval: str = ""
    timeout: str = ""


class Entry(_Keys, kw_only=True, frozen=True):
    """How the habitat runs once it is built."""

    init_command: str = ""
    startup_delay: float = 0
    ready: str | Ready = ""
    command: str = ""
    network: str = ""
    ports: list[str] = []
    limits: Limits = Limits()
    persist: list[str] = []


class Config(_Keys, kw_only=True, frozen=True, rename={"verify_fs": "verify-fs"}):
    """A whole config.yaml; every key may come from any layer, but `name` and `dockerfile` from the habitat's own."""

    name: str = ""
    description: str = ""
    base_image: str = ""
    dockerfile: str = ""
    uid: str = ""
    env: list[str] = []
    files: list[File] = []
    volumes: list[Volume] = []
    secrets: list[Secret] = []
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
    segments = [int(index) if index else key or None for index, key in _SEGMENT.findall(at.rstrip("`"))]
    path = _find(tree, segments, expected[2] if expected else "")
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
            f"{prefix}must be {wanted}, is {_NAMES.get(expected[2], expected[2])}",
            where=where,
            remedy=_remedy(expected[1], expected[2], path),
        )
    return ConfigError(f"{prefix}{problem[0].lower()}{problem[1:]}", where=where, remedy="mend it")


def _find(tree: Tree, segments: Sequence[str | int | None], kind: str) -> tuple[str | int, ...]:
    """The path that msgspec means. It says only "some value" of a mapping whose keys are free (None):
    that is the first one that leads to a value of the JSON `kind`.
    """
    types: dict[str, type] = {"str": str, "array": list, "object": dict}
    if None not in segments:
        return tuple(part for part in segments if part is not None)
    gap = segments.index(None)
    mapping = tree.at(tuple(part for part in segments[:gap] if part is not None))
    for key in mapping.value if mapping and isinstance(mapping.value, dict) else ():
        path = _find(tree, [*segments[:gap], key, *segments[gap + 1 :]], kind)
        found = tree.at(path)
        if found and isinstance(found.value, types.get(kind, object)):
            return path
    return tuple(part for part in segments[:gap] if part is not None)


def _remedy(wanted: str, got: str, path: tuple[str | int, ...]) -> str:
    """What to write instead."""
    if path[:1] == ("setup",) and wanted.startswith("object"):
        return "write root: or user:, and a list of scripts below"
    if wanted == "str" and got == "object":
        return "quote it: a colon and a space make a mapping"
    forms = {
        "str": "write one value",
        "array": "write a list, each element after a dash",
        "object": "write keys with values",
        "bool": "write true or false",
    }
    return forms.get(wanted.partition(" ")[0], "write a number")


def _known_keys(path: tuple[str | int, ...]) -> tuple[str, ...]:
    """The keys that the schema has at `path`."""
    models = {
        "files": File,
        "volumes": Volume,
        "secrets": Secret,
        "setup": Commands,
        "repos": Repo,
        "verify-fs": VerifyFs,
        "entry": Limits if path[1:2] == ("limits",) else Ready if path[1:2] == ("ready",) else Entry,
    }
    return (models[str(path[0])] if path else Config).__struct_encode_fields__
