"""What a config.yaml may hold: the one model that validates it.

Each class is a mapping of the file; an attribute's type is what the key accepts.
"""

from __future__ import annotations

import msgspec


class _Keys(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    pass


class File(_Keys, kw_only=True):
    """A file or folder of the host, copied into the habitat."""

    source: str
    dest: str
    owner: str = ""
    mode: str = ""


class Volume(_Keys, kw_only=True):
    """A file or folder of the host, mounted while building (from phase 6 on) and while running."""

    source: str
    dest: str
    readonly: bool = False
    optional: bool = False


class Commands(_Keys, kw_only=True):
    """Scripts for one user: an element of the list form of `setup:`."""

    run_as: str = "user"
    commands: list[str]


Setup = dict[str, list[str]] | list[Commands]


class Repo(_Keys, kw_only=True):
    """A git repository, cloned into the habitat."""

    url: str
    path: str
    branch: str = ""
    ref: str = ""
    depth: int = 0
    owner: str = ""
    setup: list[str] = []


class VerifyFs(_Keys, kw_only=True):
    """Paths that must exist in the built habitat."""

    required_files: list[str] = []


class Entry(_Keys, kw_only=True):
    """How the habitat runs once it is built."""

    init_command: str = ""
    startup_delay: float = 0
    command: str = ""


class Config(_Keys, kw_only=True, rename={"verify_fs": "verify-fs"}):
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
