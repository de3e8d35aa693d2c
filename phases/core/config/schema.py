"""The schema of config.yaml: its keys, the type of each value, and what each is for.

Each class is a mapping of the file. `validation` checks a config against them, and `json_schema` writes them as
docs/config.schema.json, for editors.
"""

from __future__ import annotations

import re
from typing import Annotated

import msgspec
from msgspec import UNSET, UnsetType

from phases.core.config import names, units
from phases.core.model import NETWORKS, SHARINGS

#: The mode of a file, in octal.
MODE = re.compile(r"[0-7]{3,4}")


class _Mapping(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A mapping of the file, in which any other key is an error."""


def _key(description: str, **constraints: object) -> msgspec.Meta:
    """Return what editors show and check for a key.

    The program itself checks values later, with the same patterns, when variables are filled in.

    Args:
        description: What the key is for.
        constraints: Keywords of JSON Schema.
    """
    return msgspec.Meta(description=description, extra_json_schema=constraints or None)


def _whole(pattern: re.Pattern[str], *, may_be_empty: bool = True) -> str:
    """Return the JSON Schema pattern of a whole text."""
    return f"^(?:{pattern.pattern}){'?' if may_be_empty else ''}$"


def _one_of(words: tuple[str, ...]) -> str:
    """Return the JSON Schema pattern of one of some words, or of an empty text."""
    return f"^({'|'.join(words)})?$"


class FileKeys(_Mapping, kw_only=True, frozen=True):
    """A file or folder of the host that is copied into the habitat."""

    source: Annotated[str, _key("Relative to this file's folder, else to the project's root.")]
    dest: Annotated[
        str,
        _key("Absolute, in the owner's home (~/…), or relative to WORKDIR. With a slash at its end it is a folder."),
    ]
    owner: Annotated[str, _key("NAME or NAME:GROUP. Default: USER.")] = ""
    mode: Annotated[
        str,
        _key("Octal. Default: 0755 for executables and folders, else 0644.", pattern=_whole(MODE), examples=["0644"]),
    ] = ""
    before: Annotated[str, _key("A phase: copied at its beginning, as a part of it. Default: in phase files.")] = ""
    after: Annotated[str, _key("A phase: copied at its end, as a part of it. Default: in phase files.")] = ""


class VolumeKeys(_Mapping, kw_only=True, frozen=True):
    """A file or folder of the host that is mounted while building, from phase 6 on, and while running."""

    source: Annotated[str, _key("Relative to this file's folder, else to the project's root.")]
    dest: Annotated[str, _key("Absolute, in USER's home (~/…), or relative to WORKDIR.")]
    readonly: Annotated[bool, _key("true: the habitat can't write to it. Default: false.")] = False
    optional: Annotated[bool, _key("true: it is left out on a host that doesn't have it. Default: false.")] = False
    gives_root_on_the_host: Annotated[
        bool,
        _key("true allows more than your own data, such as the engine's socket, which gives root on this machine."),
    ] = False


class SecretKeys(_Mapping, kw_only=True, frozen=True):
    """A value that commands may read and no image contains. It comes from `env`, `file` or `command`."""

    name: Annotated[
        str, _key("The name of its file in /run/secrets.", pattern=_whole(names.SECRET_NAME, may_be_empty=False))
    ]
    env: Annotated[str, _key("The variable of the host that holds it.")] = ""
    file: Annotated[str, _key("The file of the host that holds it.")] = ""
    command: Annotated[str, _key("The command that prints it, run on the host.")] = ""
    phases: Annotated[
        list[Annotated[str, msgspec.Meta(extra_json_schema={"enum": list(names.SECRET_PHASES)})]],
        _key("The phases whose commands see it."),
    ] = []
    start: Annotated[bool, _key("true: the running habitat sees it too. Default: false.")] = False
    variable: Annotated[
        str, _key("The environment variable that holds it as well. Default: none.", pattern=_whole(names.VARIABLE))
    ] = ""
    optional: Annotated[bool, _key("true: it is left out on a host that doesn't have it. Default: false.")] = False


class CacheKeys(_Mapping, kw_only=True, frozen=True):
    """A folder that is kept from build to build, outside the image."""

    path: Annotated[str, _key("Absolute, in USER's home (~/…), or relative to WORKDIR.")]
    sharing: Annotated[
        str,
        _key("locked: one build at a time uses it. Default: shared.", pattern=_one_of(SHARINGS), examples=[*SHARINGS]),
    ] = ""


class CommandsKeys(_Mapping, kw_only=True, frozen=True):
    """Scripts for one user: an element of the list form of `setup:`."""

    run_as: Annotated[
        str, _key("root, user (for USER), or a name.", pattern=_whole(names.USER, may_be_empty=False))
    ] = "user"
    commands: Annotated[list[str], _key("Scripts for `sh -e`, in order.")]


Setup = dict[str, list[str]] | list[CommandsKeys]
Choice = bool | UnsetType


class HookKeys(CommandsKeys, kw_only=True, frozen=True):
    """Scripts for one user, at a point of the build. Without `before` and `after` they are a part of setup."""

    before: Annotated[str, _key("A phase: they run at its beginning, as a part of it.")] = ""
    after: Annotated[str, _key("A phase: they run at its end, as a part of it. Default: setup.")] = ""
    description: Annotated[str, _key("What they are for: shown if one fails.")] = ""


class RepoKeys(_Mapping, kw_only=True, frozen=True):
    """A git repository that is cloned into the habitat."""

    url: Annotated[str, _key("https://…, ssh://… or the like, without a password; `.`, ./… or ~/…: on this machine.")]
    path: Annotated[str, _key("Absolute, or relative to WORKDIR; may be WORKDIR itself.")]
    branch: Annotated[str, _key("Default: the remote's default branch.")] = ""
    ref: Annotated[str, _key("A tag or a commit, instead of a branch.")] = ""
    depth: Annotated[int, _key("The number of commits to fetch. Default: all.", minimum=0)] = 0
    submodules: Annotated[Choice, _key("Whether to fetch its submodules. Default: no, with a notice.")] = UNSET
    lfs: Annotated[Choice, _key("Whether to fetch files in Git LFS. Default: if the image's git does.")] = UNSET
    owner: Annotated[str, _key("NAME or NAME:GROUP, who clones it. Default: USER.")] = ""
    token: Annotated[str, _key("A secret with the phase repos; sent to this URL's host only, by HTTPS.")] = ""
    ssh_agent: Annotated[bool, _key("true gives the phase access to your SSH agent. Default: false.")] = False
    known_hosts: Annotated[
        str, _key("The file with the host keys to trust, for ssh_agent. Default: ~/.ssh/known_hosts.")
    ] = ""
    setup: Annotated[list[str], _key("Scripts, run as the owner, in the repository.")] = []


class VerifyFsKeys(_Mapping, kw_only=True, frozen=True):
    """Phase 10: paths that must exist in the habitat."""

    required_files: Annotated[list[str], _key("Files or folders, absolute or relative to WORKDIR.")] = []


class TestKeys(_Mapping, kw_only=True, frozen=True):
    """A script of phase 11."""

    run: Annotated[str, _key("Relative to this file's folder, else to the project's root.")]
    init: Annotated[bool, _key("true: it runs while entry.init_command is up and ready. Default: false.")] = False


class LimitsKeys(_Mapping, kw_only=True, frozen=True):
    """The most that a running habitat, or a build, may use; 0 means no limit."""

    memory: Annotated[
        str, _key("Such as 512m or 4g. Default: no limit.", pattern=rf"^\s*{_whole(units.BYTES)[1:-1]}\s*$")
    ] = ""
    cpus: Annotated[float, _key("The number of processors, such as 1.5. Default: no limit.", minimum=0)] = 0
    pids: Annotated[int, _key("Processes and threads. Default: 4096.", minimum=0)] = 0


class ReadyKeys(_Mapping, kw_only=True, frozen=True):
    """A command that is tried until it succeeds; then the habitat is ready."""

    command: Annotated[str, _key("Runs as USER in WORKDIR, with the secrets of a start.")]
    interval: Annotated[str, _key("From the end of one try to the next. Default: 1s.")] = ""
    timeout: Annotated[str, _key("Of all tries; then the start fails. Default: 60s.")] = ""


class EntryKeys(_Mapping, kw_only=True, frozen=True):
    """How the habitat runs after its build."""

    init_command: Annotated[str, _key("The main process, as root. Default: an init that waits and reaps.")] = ""
    startup_delay: Annotated[
        float, _key("Seconds before the command runs, or `ready` is tried.", minimum=0, maximum=units.DAY)
    ] = 0
    ready: Annotated[
        str | ReadyKeys, _key("A command, as USER in WORKDIR, tried until it succeeds: then the habitat is ready.")
    ] = ""
    command: Annotated[
        str,
        _key("Runs at a start, as USER in WORKDIR; $$ leaves a variable to the shell there. Default: a shell."),
    ] = ""
    network: Annotated[str, _key("Default: bridge.", pattern=_one_of(NETWORKS), examples=[*NETWORKS])] = ""
    ports: Annotated[
        list[str],
        _key("On 127.0.0.1 unless an address is given: 3000, 8080:3000, 0.0.0.0:9000:9000; 0:3000 picks a free one."),
    ] = []
    limits: LimitsKeys = LimitsKeys()
    shm_size: Annotated[
        str, _key("Size of /dev/shm, such as 1g. Default: 64m.", pattern=rf"^\s*{_whole(units.BYTES)[1:-1]}\s*$")
    ] = ""
    persist: Annotated[
        list[str], _key("Paths that outlive the container and its image; that of a folder ends with a slash.")
    ] = []


class BuildKeys(_Mapping, kw_only=True, frozen=True):
    """Confines the commands of a build, except those of a Dockerfile."""

    limits: LimitsKeys = LimitsKeys()
    new_privileges: Annotated[
        bool, _key("true: commands may gain privileges, as sudo does. Default: false, as in a running habitat.")
    ] = False


class Config(_Mapping, kw_only=True, frozen=True, rename={"verify_fs": "verify-fs"}):
    """A whole config.yaml. Every layer may set every key, but `name` and `dockerfile` belong to the habitat's own."""

    name: Annotated[str, _key("Optional; must be the folder's name.")] = ""
    description: Annotated[str, _key("The text for `habitat list`.")] = ""
    base_image: Annotated[
        str, _key("Phase 1: the image to start from; optional beside a Dockerfile.", pattern=_whole(names.IMAGE))
    ] = ""
    dockerfile: Annotated[
        str, _key("Phase 0: the name of the file to build, or false. Default: Dockerfile, where there is one.")
    ] = ""
    uid: Annotated[str, _key("Phase 2: host gives USER your uid and gid; a number is used for both. Default: any.")] = (
        ""
    )
    env: Annotated[
        list[Annotated[str, msgspec.Meta(extra_json_schema={"pattern": f"^{names.VARIABLE.pattern}="})]],
        _key("Phases 2 to 5: NAME=value, in order. $NAME is a variable's value, $$ is a dollar sign."),
    ] = []
    files: Annotated[
        list[FileKeys], _key("Phase 6: files and folders of the host that are copied into the habitat.")
    ] = []
    volumes: Annotated[
        list[str | VolumeKeys],
        _key("Files and folders of the host, mounted from phase 6 on, and while running. Short: SOURCE:DEST:ro."),
    ] = []
    secrets: Annotated[list[SecretKeys], _key("Values that commands may read and no image contains.")] = []
    caches: Annotated[
        list[str | CacheKeys], _key("Phases 7 to 9: folders that are kept from build to build, and are in no image.")
    ] = []
    setup: Annotated[
        Setup,
        _key("Phase 7: scripts for `sh -e`: root's first, then USER's, then other users'; or a list, in its order."),
    ] = []
    hooks: Annotated[list[HookKeys], _key("Scripts for `sh -e` before or after any phase, as a part of it.")] = []
    repos: Annotated[list[RepoKeys], _key("Phase 8: git repositories, cloned with the image's own git.")] = []
    verify_fs: VerifyFsKeys = VerifyFsKeys()
    tests: Annotated[
        list[str | TestKeys], _key("Phase 11: scripts, run as USER in WORKDIR, in a temporary container.")
    ] = []
    entry: EntryKeys = EntryKeys()
    build: BuildKeys = BuildKeys()
    debug: Annotated[bool, _key("true shows every command's output. Default: false, it goes to the log.")] = False
    timeouts: Annotated[
        dict[str, str], _key("The longest time for a phase, such as 90s, 30m or 1h 30m. Default: none.")
    ] = {}
