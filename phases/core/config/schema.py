"""What a config.yaml may hold: the one model that validates it.

Each class is a mapping of the file; an attribute's type is what the key accepts. Editors are told the
same: json_schema.py makes docs/config.schema.json of it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated

import msgspec

from phases.core.config import names, units
from phases.core.config.scope import USER
from phases.core.errors import ConfigError, did_you_mean
from phases.core.model import NETWORKS, SHARINGS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from phases.core.config.yaml_tree import Tree


#: Of a file, in octal.
MODE = re.compile(r"[0-7]{3,4}")


class _Keys(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A mapping in which only the keys that are named may stand."""


def _key(description: str, **constraints: object) -> msgspec.Meta:
    """What a key is for, and what editors check its values by. The loader checks those where it reads
    them, by the same expressions, after variables are filled in, and with a better message.
    """
    return msgspec.Meta(description=description, extra_json_schema=constraints or None)


def _like(expression: re.Pattern[str], empty: str = "?") -> str:
    """The pattern of a text, which may be empty as well."""
    return f"^(?:{expression.pattern}){empty}$"


class FileKeys(_Keys, kw_only=True, frozen=True):
    """A file or folder of the host, copied into the habitat."""

    source: Annotated[str, _key("Relative to this file's folder, else to the project's root.")]
    dest: Annotated[str, _key("Absolute, in the owner's home (~/…), or relative to WORKDIR.")]
    owner: Annotated[str, _key("NAME or NAME:GROUP. Default: USER.")] = ""
    mode: Annotated[
        str,
        _key("Octal. Default: 0755 for executables and folders, else 0644.", pattern=_like(MODE), examples=["0644"]),
    ] = ""


class VolumeKeys(_Keys, kw_only=True, frozen=True):
    """A file or folder of the host, mounted while building (from phase 6 on) and while running."""

    source: Annotated[str, _key("Relative to this file's folder, else to the project's root.")]
    dest: Annotated[str, _key("Absolute, or relative to WORKDIR.")]
    readonly: Annotated[bool, _key("The habitat can't write to it.")] = False
    optional: Annotated[bool, _key("It is left out on a host that doesn't have it.")] = False
    gives_root_on_the_host: Annotated[
        bool, _key("For what is more than your own data, as the engine's socket: it gives root on this machine.")
    ] = False


class SecretKeys(_Keys, kw_only=True, frozen=True):
    """Something that commands may read and no image may hold; it comes from one of env, file, command."""

    name: Annotated[str, _key("The file below /run/secrets.", pattern=_like(names.SECRET_NAME, empty=""))]
    env: Annotated[str, _key("The variable of the host that holds it.")] = ""
    file: Annotated[str, _key("The file of the host that holds it.")] = ""
    command: Annotated[str, _key("The command of the host that prints it.")] = ""
    phases: Annotated[
        list[Annotated[str, msgspec.Meta(extra_json_schema={"enum": list(names.SECRET_PHASES)})]],
        _key("The phases whose commands see it."),
    ] = []
    start: Annotated[bool, _key("The running habitat sees it as well.")] = False
    variable: Annotated[
        str,
        _key("The variable that it is in as well, in the habitat. Default: none.", pattern=_like(names.VARIABLE)),
    ] = ""
    optional: Annotated[bool, _key("It is left out on a host that doesn't have it.")] = False


class CacheKeys(_Keys, kw_only=True, frozen=True):
    """A folder that builds keep beside the image."""

    path: Annotated[str, _key("Absolute, in USER's home (~/…), or relative to WORKDIR.")]
    sharing: Annotated[
        str,
        _key(
            "locked: one build at a time uses it. Default: shared.",
            pattern=f"^({'|'.join(SHARINGS)})?$",
            examples=list(SHARINGS),
        ),
    ] = ""


class CommandsKeys(_Keys, kw_only=True, frozen=True):
    """Scripts for one user: an element of the list form of `setup:`."""

    run_as: Annotated[str, _key("root, user (which is USER), or a name.", pattern=_like(USER, empty=""))] = "user"
    commands: Annotated[list[str], _key("Scripts for `sh -e`, in order.")]


Setup = dict[str, list[str]] | list[CommandsKeys]


class RepoKeys(_Keys, kw_only=True, frozen=True):
    """A git repository, cloned into the habitat."""

    url: Annotated[str, _key("https://…, ssh://…, or what else git clones; without a password.")]
    path: Annotated[str, _key("Absolute, or relative to WORKDIR, which may be cloned into itself.")]
    branch: Annotated[str, _key("Default: the remote's.")] = ""
    ref: Annotated[str, _key("A tag or a commit, instead of a branch.")] = ""
    depth: Annotated[int, _key("How many commits of its history. Default: all.", minimum=0)] = 0
    owner: Annotated[str, _key("NAME or NAME:GROUP, who clones it. Default: USER.")] = ""
    token: Annotated[str, _key("A secret that has the phase repos; sent to the URL's own host by HTTPS.")] = ""
    ssh_agent: Annotated[bool, _key("Lend your SSH agent to the phase.")] = False
    known_hosts: Annotated[str, _key("The keys of hosts, for ssh_agent. Default: ~/.ssh/known_hosts.")] = ""
    setup: Annotated[list[str], _key("Scripts, run as the owner, in the repository.")] = []


class VerifyFsKeys(_Keys, kw_only=True, frozen=True):
    """Phase 10: paths that must exist in the built habitat."""

    required_files: Annotated[list[str], _key("Absolute, or relative to WORKDIR; files or folders.")] = []


class LimitsKeys(_Keys, kw_only=True, frozen=True):
    """What a running habitat, or a build, may take of the machine; 0 is no limit."""

    memory: Annotated[
        str, _key("Like 512m or 4g. Default: no limit.", pattern=rf"^\s*{_like(units.BYTES)[1:-1]}\s*$")
    ] = ""
    cpus: Annotated[float, _key("How many processors. Default: no limit.", minimum=0)] = 0
    pids: Annotated[int, _key("Processes and threads. Default: 4096.", minimum=0)] = 0


class ReadyKeys(_Keys, kw_only=True, frozen=True):
    """A command that succeeds once the running habitat is ready."""

    command: Annotated[str, _key("As USER in WORKDIR, with the secrets of a start.")]
    interval: Annotated[str, _key("Between two tries. Default: 1s.")] = ""
    timeout: Annotated[str, _key("In all. Default: 60s.")] = ""


class EntryKeys(_Keys, kw_only=True, frozen=True):
    """How the habitat runs once it is built."""

    init_command: Annotated[str, _key("The main process, as root. Default: an init that idles and reaps.")] = ""
    startup_delay: Annotated[float, _key("Seconds until the command is run.", minimum=0, maximum=units.DAY)] = 0
    ready: Annotated[
        str | ReadyKeys, _key("A command, as USER in WORKDIR, tried until it succeeds: then the habitat is ready.")
    ] = ""
    command: Annotated[
        str, _key("What a start runs, as USER in WORKDIR; $$ leaves a variable to the shell there. Default: a shell.")
    ] = ""
    network: Annotated[str, _key("Default: bridge.", pattern=f"^({'|'.join(NETWORKS)})?$", examples=list(NETWORKS))] = (
        ""
    )
    ports: Annotated[
        list[str], _key("3000, 8080:3000, 0:3000 for one that is free, 0.0.0.0:8080:3000; on 127.0.0.1 otherwise.")
    ] = []
    limits: LimitsKeys = LimitsKeys()
    persist: Annotated[
        list[str],
        _key("Paths that outlive the container, on volumes of its own; a folder ends with a slash."),
    ] = []


class BuildKeys(_Keys, kw_only=True, frozen=True):
    """What confines the commands of a build, but for those of a Dockerfile."""

    limits: LimitsKeys = LimitsKeys()
    new_privileges: Annotated[
        bool, _key("Programs may gain privileges, as sudo does. Default: false, as in a running habitat.")
    ] = False


class Config(_Keys, kw_only=True, frozen=True, rename={"verify_fs": "verify-fs"}):
    """A whole config.yaml; every key may come from any layer, but `name` and `dockerfile` from the habitat's own."""

    name: Annotated[str, _key("Optional; must be the folder's name.")] = ""
    description: Annotated[str, _key("What `doit list` says of the habitat.")] = ""
    base_image: Annotated[
        str, _key("Phase 1: the image to begin with; optional beside a Dockerfile.", pattern=_like(names.IMAGE))
    ] = ""
    dockerfile: Annotated[
        str, _key("Phase 0: the name of the file that it builds, or false. Default: Dockerfile, where there is one.")
    ] = ""
    uid: Annotated[str, _key("Phase 2: host gives USER your uid and gid, a number both of that. Default: any.")] = ""
    env: Annotated[
        list[Annotated[str, msgspec.Meta(extra_json_schema={"pattern": "^[A-Za-z_][A-Za-z0-9_]*="})]],
        _key("Phases 2 to 5: NAME=value, in order. $NAME is a variable's value, $$ a dollar sign."),
    ] = []
    files: Annotated[list[FileKeys], _key("Phase 6: files and folders of the host, copied into the habitat.")] = []
    volumes: Annotated[list[VolumeKeys], _key("Folders of the host, mounted from phase 6 on, and while running.")] = []
    secrets: Annotated[list[SecretKeys], _key("What commands may read and no image may hold.")] = []
    caches: Annotated[
        list[str | CacheKeys],
        _key("Phases 7 to 9: folders that are kept from build to build, and are in no image."),
    ] = []
    setup: Annotated[
        Setup, _key("Phase 7: scripts for `sh -e`, root's first, then USER's, then others'; or a list, in order.")
    ] = []
    repos: Annotated[list[RepoKeys], _key("Phase 8: git repositories, cloned with the image's own git.")] = []
    verify_fs: VerifyFsKeys = VerifyFsKeys()
    tests: Annotated[list[str], _key("Phase 11: scripts, run as USER in WORKDIR, in a throwaway container.")] = []
    entry: EntryKeys = EntryKeys()
    build: BuildKeys = BuildKeys()
    debug: Annotated[bool, _key("Show every command's output; else it goes to the log.")] = False
    timeouts: Annotated[dict[str, str], _key("How long a phase may take: 90s, 30m, 1h 30m. Default: for ever.")] = {}


def validate(tree: Tree) -> Config:
    """The tree as typed values. Raises ConfigError with the line of the first thing that is wrong."""
    try:
        config = msgspec.convert(tree.plain(), Config, strict=False)
    except msgspec.ValidationError as error:
        raise _invalid(str(error), tree) from error
    for *path, key in tree.empty_keys():
        # msgspec isn't shown these. The keys of the others are free.
        if path[:1] not in (["setup"], ["timeouts"]) and key not in _known_keys(tuple(path)):
            raise _unknown(str(key), tuple(path), tree)
    return config


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
    prefix = _prefix(path)
    if match := re.fullmatch(r"Object contains unknown field `(.*)`", problem):
        return _unknown(match[1], path, tree)
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
    return ConfigError(f"{prefix}{problem[0].lower()}{problem[1:]}", where=where, remedy="fix it")


def _unknown(key: str, path: tuple[str | int, ...], tree: Tree) -> ConfigError:
    renamed = _RENAMED.get(key) if not path else None
    remedy = f"it is called '{renamed}' now" if renamed else did_you_mean(key, _known_keys(path))
    return ConfigError(f"{_prefix(path)}unknown key '{key}'", where=tree.origin_of((*path, key)), remedy=remedy)


def _prefix(path: tuple[str | int, ...]) -> str:
    """A place as a person writes it: `files[1].dest: `."""
    shown = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")
    return f"{shown}: " if shown else ""


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
        "files": FileKeys,
        "volumes": VolumeKeys,
        "secrets": SecretKeys,
        "caches": CacheKeys,
        "setup": CommandsKeys,
        "repos": RepoKeys,
        "verify-fs": VerifyFsKeys,
        "entry": LimitsKeys if path[1:2] == ("limits",) else ReadyKeys if path[1:2] == ("ready",) else EntryKeys,
        "build": LimitsKeys if path[1:2] == ("limits",) else BuildKeys,
    }
    return (models[str(path[0])] if path else Config).__struct_encode_fields__
