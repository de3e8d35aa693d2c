"""The schema of config.yaml: its keys, the type of each value, and what each is for.

Each class is a mapping of the file. `validation` checks a config against them, and `json_schema` writes them as
docs/config.schema.json, for editors.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from phases.core.config import names
from phases.core.config.schema.entry import BuildKeys, EntryKeys, LimitsKeys, NetworkKeys, PersistKeys, ReadyKeys
from phases.core.config.schema.mapping import Mapping, key, one_of, whole
from phases.core.config.schema.sections import (
    MODE,
    CacheKeys,
    CommandsKeys,
    EntryFileKeys,
    FileKeys,
    HookKeys,
    InstructionKeys,
    RepoKeys,
    SecretKeys,
    Setup,
    TakeKeys,
    TestKeys,
    VerifyFsKeys,
    VolumeKeys,
)
from phases.core.model import WORKSPACES

__all__ = [
    "MODE",
    "BuildKeys",
    "CacheKeys",
    "CommandsKeys",
    "Config",
    "EntryFileKeys",
    "EntryKeys",
    "FileKeys",
    "HookKeys",
    "InstructionKeys",
    "LimitsKeys",
    "NetworkKeys",
    "PersistKeys",
    "ReadyKeys",
    "RepoKeys",
    "SecretKeys",
    "Setup",
    "TakeKeys",
    "TestKeys",
    "VerifyFsKeys",
    "VolumeKeys",
]


class Config(Mapping, kw_only=True, frozen=True, rename={"verify_fs": "verify-fs"}):
    """A whole config.yaml. `name` and `dockerfile` belong to a habitat's own, `project` to the shared one."""

    name: Annotated[str, key("Optional; must be the folder's name.")] = ""
    project: Annotated[
        str, key("A name that comes before the habitats' in those of their images.", pattern=whole(names.PROJECT))
    ] = ""
    description: Annotated[str, key("The text for `habitat list`.")] = ""
    extends: Annotated[
        list[Annotated[str, msgspec.Meta(extra_json_schema={"pattern": f"^{names.HABITAT.pattern}$"})]],
        key("Configs to build on, by name: of shared/extends/, else the program's own. They come before shared."),
    ] = []
    base_image: Annotated[
        str, key("Phase 1: the image to start from; optional beside a Dockerfile.", pattern=whole(names.IMAGE))
    ] = ""
    dockerfile: Annotated[
        str, key("Phase 0: the name of the file to build, or false. Default: Dockerfile, where there is one.")
    ] = ""
    uid: Annotated[str, key("Phase 2: host gives USER your uid and gid; a number is used for both. Default: any.")] = ""
    env: Annotated[
        list[Annotated[str, msgspec.Meta(extra_json_schema={"pattern": f"^{names.VARIABLE.pattern}="})]],
        key("Phases 2 to 5: NAME=value, in order. $NAME is a variable's value, $$ is a dollar sign."),
    ] = []
    files: Annotated[
        list[FileKeys], key("Phase 6: files and folders of the host that are copied into the habitat.")
    ] = []
    volumes: Annotated[
        list[str | VolumeKeys],
        key("Files and folders of the host, mounted from phase 6 on, and while running. Short: SOURCE:DEST:ro."),
    ] = []
    secrets: Annotated[list[SecretKeys], key("Values that commands may read and no image contains.")] = []
    caches: Annotated[
        list[str | CacheKeys], key("Phases 7 to 9: folders that are kept from build to build, and are in no image.")
    ] = []
    setup: Annotated[
        Setup,
        key("Phase 7: scripts for `sh -e`: root's first, then USER's, then other users'; or a list, in its order."),
    ] = []
    hooks: Annotated[list[HookKeys], key("Scripts for `sh -e` before or after any phase, as a part of it.")] = []
    repos: Annotated[list[RepoKeys], key("Phase 8: git repositories, cloned with the image's own git.")] = []
    workspace: Annotated[
        str,
        key(
            "Where WORKDIR and the repositories are: volume, kept over rebuilds, or image. Default: volume.",
            pattern=one_of(WORKSPACES),
            examples=[*WORKSPACES],
        ),
    ] = ""
    verify_fs: VerifyFsKeys = VerifyFsKeys()
    tests: Annotated[
        list[str | TestKeys], key("Phase 11: scripts, run as USER in WORKDIR, in a temporary container.")
    ] = []
    take: TakeKeys = TakeKeys()
    instructions: Annotated[
        str | InstructionKeys | list[str | InstructionKeys],
        key("Texts for agents, or files with them, of all layers: they go into entry.instruction_files at a start."),
    ] = []
    entry: EntryKeys = EntryKeys()
    build: BuildKeys = BuildKeys()
    debug: Annotated[bool, key("true shows every command's output. Default: false, it goes to the log.")] = False
    timeouts: Annotated[
        dict[str, str], key("The longest time for a phase, such as 90s, 30m or 1h 30m. Default: none.")
    ] = {}
