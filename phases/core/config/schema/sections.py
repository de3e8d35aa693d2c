"""The elements of the lists of config.yaml, such as `files:` and `repos:`."""

from __future__ import annotations

import re
from typing import Annotated

import msgspec
from msgspec import UNSET, UnsetType

from phases.core.config import names
from phases.core.config.schema.mapping import Mapping, key, one_of, whole

#: The mode of a file, in octal.
MODE = re.compile(r"[0-7]{3,4}")

#: The values of a cache's `sharing`, which are words of BuildKit; the first is the default.
SHARINGS = ("shared", "locked")


class EntryFileKeys(Mapping, kw_only=True, frozen=True):
    """A file or folder of the host that is copied into the habitat's container before each of its starts."""

    source: Annotated[str, key("Relative to this file's folder, else to the project's root.")]
    dest: Annotated[
        str,
        key("Absolute, in the owner's home (~/…), or relative to WORKDIR. With a slash at its end it is a folder."),
    ]
    owner: Annotated[str, key("NAME or NAME:GROUP. Default: USER.")] = ""
    mode: Annotated[
        str,
        key("Octal. Default: 0755 for executables and folders, else 0644.", pattern=whole(MODE), examples=["0644"]),
    ] = ""


class FileKeys(EntryFileKeys, kw_only=True, frozen=True):
    """A file or folder of the host that is copied into the habitat."""

    before: Annotated[str, key("A phase: copied at its beginning, as a part of it. Default: in phase files.")] = ""
    after: Annotated[str, key("A phase: copied at its end, as a part of it. Default: in phase files.")] = ""


class VolumeKeys(Mapping, kw_only=True, frozen=True):
    """A file or folder of the host that is mounted while building, from phase 6 on, and while running."""

    source: Annotated[str, key("Relative to this file's folder, else to the project's root.")]
    dest: Annotated[str, key("Absolute, in USER's home (~/…), or relative to WORKDIR.")]
    readonly: Annotated[bool, key("true: the habitat can't write to it. Default: false.")] = False
    optional: Annotated[bool, key("true: it is left out on a host that doesn't have it. Default: false.")] = False
    gives_root_on_the_host: Annotated[
        bool,
        key("true allows more than your own data, such as the engine's socket, which gives root on this machine."),
    ] = False


class SecretKeys(Mapping, kw_only=True, frozen=True):
    """A value that commands may read and no image contains. It comes from `env`, `file` or `command`."""

    name: Annotated[
        str, key("The name of its file in /run/secrets.", pattern=whole(names.SECRET_NAME, may_be_empty=False))
    ]
    env: Annotated[str, key("The variable of the host that holds it.")] = ""
    file: Annotated[str, key("The file of the host that holds it.")] = ""
    command: Annotated[str, key("The command that prints it, run on the host.")] = ""
    phases: Annotated[
        list[Annotated[str, msgspec.Meta(extra_json_schema={"enum": list(names.SECRET_PHASES)})]],
        key("The phases whose commands see it."),
    ] = []
    start: Annotated[bool, key("true: the running habitat sees it too. Default: false.")] = False
    variable: Annotated[
        str, key("The environment variable that holds it as well. Default: none.", pattern=whole(names.VARIABLE))
    ] = ""
    optional: Annotated[bool, key("true: it is left out on a host that doesn't have it. Default: false.")] = False


class CacheKeys(Mapping, kw_only=True, frozen=True):
    """A folder that is kept from build to build, outside the image."""

    path: Annotated[str, key("Absolute, in USER's home (~/…), or relative to WORKDIR.")]
    sharing: Annotated[
        str,
        key("locked: one build at a time uses it. Default: shared.", pattern=one_of(SHARINGS), examples=[*SHARINGS]),
    ] = ""


class CommandsKeys(Mapping, kw_only=True, frozen=True):
    """Scripts for one user: an element of the list form of `setup:`."""

    run_as: Annotated[str, key("root, user (for USER), or a name.", pattern=whole(names.USER, may_be_empty=False))] = (
        "user"
    )
    commands: Annotated[list[str], key("Scripts for `sh -e`, in order.")]


Setup = dict[str, list[str]] | list[CommandsKeys]
Choice = bool | UnsetType


class HookKeys(CommandsKeys, kw_only=True, frozen=True):
    """Scripts for one user, at a point of the build. Without `before` and `after` they are a part of setup."""

    before: Annotated[str, key("A phase: they run at its beginning, as a part of it.")] = ""
    after: Annotated[str, key("A phase: they run at its end, as a part of it. Default: setup.")] = ""
    description: Annotated[str, key("What they are for: shown if one fails.")] = ""


class RepoKeys(Mapping, kw_only=True, frozen=True):
    """A git repository that is cloned into the habitat."""

    url: Annotated[
        str, key("https://…, ssh://… or the like, without a password; a path: a repository of this machine.")
    ]
    path: Annotated[str, key("Absolute, or relative to WORKDIR; may be WORKDIR itself.")]
    branch: Annotated[str, key("Default: the remote's default branch.")] = ""
    ref: Annotated[str, key("A tag or a commit, instead of a branch.")] = ""
    depth: Annotated[int, key("The number of commits to fetch. Default: all.", minimum=0)] = 0
    submodules: Annotated[Choice, key("Whether to fetch its submodules. Default: no, with a notice.")] = UNSET
    lfs: Annotated[Choice, key("Whether to fetch files in Git LFS. Default: if the image's git does.")] = UNSET
    owner: Annotated[str, key("NAME or NAME:GROUP, who clones it. Default: USER.")] = ""
    writable: Annotated[bool, key("false gives its files to root: USER can read, not change them. Default: true.")] = (
        True
    )
    token: Annotated[
        str, key("A secret with the phase repos, and `start: true` for pull and push; for this URL's host only.")
    ] = ""
    ssh_agent: Annotated[bool, key("true gives the phase access to your SSH agent. Default: false.")] = False
    known_hosts: Annotated[
        str, key("The file with the host keys to trust, for ssh_agent. Default: ~/.ssh/known_hosts.")
    ] = ""
    setup: Annotated[list[str], key("Scripts, run as the owner, in the repository.")] = []


class InstructionKeys(Mapping, kw_only=True, frozen=True):
    """A text for agents in a file of the host."""

    file: Annotated[str, key("Relative to this file's folder, else to the project's root. Read at each start.")]


class VerifyFsKeys(Mapping, kw_only=True, frozen=True):
    """Phase 10: paths that must exist in the habitat."""

    required_files: Annotated[list[str], key("Files or folders, absolute or relative to WORKDIR.")] = []


class TestKeys(Mapping, kw_only=True, frozen=True):
    """A script of phase 11."""

    run: Annotated[str, key("Relative to this file's folder, else to the project's root.")]
    init: Annotated[bool, key("true: it runs while entry.init_command is up and ready. Default: false.")] = False


class TakeKeys(Mapping, kw_only=True, frozen=True):
    """The checks of `habitat take` beside `tests:`."""

    check: Annotated[
        list[str], key("Scripts for `sh -e`, run as USER in the repository, with the commits that are to be taken.")
    ] = []
