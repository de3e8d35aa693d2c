"""A habitat as its phases read it: everything resolved, nothing looked up on an engine."""

from __future__ import annotations

import os
from functools import cached_property
from typing import TYPE_CHECKING

from msgspec import Struct, field
from msgspec.structs import replace

from phases.core.errors import ConfigError
from phases.core.files import tree as files_tree
from phases.core.files.ignore import CREDENTIALS, DEFAULT_IGNORE, dockerignore, habignore, is_one_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from phases.core.files.ignore import Ignore
    from phases.core.files.tree import Item
    from phases.core.origin import Origin
    from phases.core.port import Port
    from phases.core.variables import Env

#: What a layer's folder holds for a phase of its own, and is therefore not copied in phase 6.
OWN_PHASE = ("/config.yaml", "/Dockerfile", "/tests", "/tools", "/.habignore", "/.dockerignore")

#: What `doit migrate` keeps of a config.yaml that it has rewritten.
BEFORE_MIGRATION = "config.yaml.before-migration"

#: The tmpfs in a container in which each secret is a file. No image has it.
SECRETS_FOLDER = "/run/secrets"

#: What `entry.network` may be. A mapping is kept free for a list of hosts that may be reached.
NETWORKS = ("bridge", "none")

#: What `sharing` of a cache may be, in the words of BuildKit; the first where none is said.
SHARINGS = ("shared", "locked")


class ConfigLayer(Struct, frozen=True):
    """One of the three configs that make a habitat.

    name: system, shared or local; folder: on the host; shown: the same for people, relative to the
    project's root; dest: where the habitat has its copy, "" for nowhere.
    """

    name: str
    folder: Path
    shown: str
    dest: str = ""


class FileCopy(Struct, frozen=True):
    """An element of `files:`. dest: absolute or below ~; owner: a name, "" for USER; mode: octal or ""."""

    source: Path
    shown: str
    dest: str
    owner: str
    mode: str
    origin: Origin


class Mount(Struct, frozen=True):
    """An element of `volumes:`. source: without a link in it; present: false for an optional one that this host
    doesn't have; gives_root: whether one can become root on the host through it; pin: device and inode of the source.
    """

    source: Path
    shown: str
    dest: str
    readonly: bool
    present: bool
    origin: Origin
    gives_root: bool = False
    pin: tuple[int, int] | None = None


class Secret(Struct, frozen=True):
    """An element of `secrets:`. Its value comes from `env`, `file` or `command`, whichever is not empty.

    phases: whose commands see it; start: whether the running habitat does; variable: the environment
    variable that holds it as well, "" for none; optional: left out on a host that doesn't have it; habitat: whose
    config names it.
    """

    name: str
    env: str
    file: Path | None
    command: str
    phases: tuple[str, ...]
    start: bool
    variable: str
    optional: bool
    origin: Origin
    habitat: str = ""


class Value(Struct, frozen=True):
    """A secret that this host has. data: the content of its file in the container."""

    name: str
    data: bytes
    variable: str = ""

    @property
    def path(self) -> str:
        return f"{SECRETS_FOLDER}/{self.name}"

    @property
    def text(self) -> str:
        """For an environment variable, which ends where the last line does."""
        return self.data.decode().rstrip("\n")


class Command(Struct, frozen=True):
    """A script of `setup:` for the shell of `user`, a name the habitat has or gets."""

    user: str
    script: str
    origin: Origin


class RepoClone(Struct, frozen=True):
    """An element of `repos:`. depth: commits, 0 for all; setup: scripts run as owner in path; token:
    the name of the secret that HTTPS asks for, "" for none; known_hosts: the host keys to trust where
    the host's SSH agent is to be used, None where it isn't.
    """

    url: str
    path: str
    branch: str
    ref: str
    depth: int
    owner: str
    setup: tuple[Command, ...]
    origin: Origin
    token: str = ""
    known_hosts: Path | None = None


class TestScript(Struct, frozen=True):
    """An element of `tests:`. dest: where it is put in the throwaway container."""

    source: Path
    shown: str
    dest: str
    layer: ConfigLayer
    origin: Origin


class Limits(Struct, frozen=True):
    """What a running habitat, or a build, may take. memory: bytes; pids: processes and threads; 0 is no limit."""

    memory: int = 0
    cpus: float = 0
    pids: int = 0


class Build(Struct, frozen=True):
    """What holds the commands of a build in. new_privileges: whether a program may gain some, as sudo does."""

    limits: Limits = field(default_factory=Limits)
    new_privileges: bool = False


class Ready(Struct, frozen=True):
    """A command that succeeds once the habitat is ready: tried every `interval` seconds, `timeout` in all."""

    command: str
    interval: float
    timeout: float
    origin: Origin


class UserIds(Struct, frozen=True):
    """What `uid:` comes to."""

    uid: int
    gid: int
    origin: Origin


class Cache(Struct, frozen=True):
    """An element of `caches:`. path: absolute or below ~; locked: whether one build at a time uses it."""

    path: str
    origin: Origin
    locked: bool = False


class Persisted(Struct, frozen=True):
    """An element of `entry.persist`. path: absolute or below ~; a folder's ends with a slash."""

    path: str
    origin: Origin

    @property
    def is_folder(self) -> bool:
        return self.path.endswith("/")


class EntryPoint(Struct, frozen=True):
    """How the habitat runs. startup_delay: seconds; network: one of NETWORKS."""

    init_command: str = ""
    startup_delay: float = 0
    ready: Ready | None = None
    command: str = ""
    network: str = "bridge"
    ports: tuple[Port, ...] = ()
    limits: Limits = field(default_factory=Limits)
    persist: tuple[Persisted, ...] = ()


class Habitat(Struct, frozen=True, dict=True):
    """One habitat, its three layers coalesced and validated.

    folder: habitats/NAME on the host; dockerfile: the file there that phase 0 builds, "" for none;
    secret_files: that any layer names, also for a secret that a later one replaces; numbers: that USER is to
    have, None for any; timeouts: phase name to seconds; base_id: the id of the base image on the engine, None
    while it isn't there; sources: reads what is copied, each tree once.
    """

    name: str
    folder: Path
    description: str
    layers: tuple[ConfigLayer, ...]
    base_image: str
    base_origin: Origin
    env: Env
    numbers: UserIds | None = None
    files: tuple[FileCopy, ...] = ()
    volumes: tuple[Mount, ...] = ()
    secrets: tuple[Secret, ...] = ()
    secret_files: tuple[Path, ...] = ()
    caches: tuple[Cache, ...] = ()
    setup: tuple[Command, ...] = ()
    repos: tuple[RepoClone, ...] = ()
    required: tuple[tuple[str, Origin], ...] = ()
    tests: tuple[TestScript, ...] = ()
    entry: EntryPoint = field(default_factory=EntryPoint)
    build: Build = field(default_factory=Build)
    debug: bool = False
    timeouts: dict[str, float] = field(default_factory=dict)
    base_id: str | None = None
    dockerfile: str = "Dockerfile"
    sources: files_tree.Sources = field(default_factory=files_tree.Sources)

    @property
    def user(self) -> str:
        return self.env.get("USER") or "root"

    def layer(self, name: str) -> ConfigLayer:
        return next(layer for layer in self.layers if layer.name == name)

    @property
    def workdir(self) -> str:
        return self.env.get("WORKDIR") or "/"

    @property
    def paths(self) -> dict[str, str]:
        """The habitat's own folders that are named in env, by the variable's name."""
        names = ("HABITAT_PATH", "SYSTEM_PATH", "SHARED_PATH", "LOCAL_PATH")
        return {name: path for name in names if (path := self.env.get(name))}

    @property
    def has_dockerfile(self) -> bool:
        return bool(self.dockerfile) and self.sources.has_file(self.folder / self.dockerfile)

    def owner_of(self, layer: ConfigLayer) -> str:
        """Who has a layer's copies. The system's are root's: USER can't replace the program's own tools."""
        return "root" if layer.name == "system" else self.user

    def user_named(self, name: str) -> str:
        """The user a config means: `user` and nothing are USER."""
        return self.user if name in ("", "user") else name

    @cached_property
    def ignore(self) -> Ignore:
        """What .habignore of any layer, or the built-in list, leaves out of every copied folder."""
        return habignore(layer.folder for layer in self.layers)

    @cached_property
    def own_ignore(self) -> Ignore:
        """The same without the names that tend to be those of secrets: what the person's rules alone leave out."""
        clutter = [name for name in DEFAULT_IGNORE if name not in CREDENTIALS]
        return habignore((layer.folder for layer in self.layers), clutter)

    @cached_property
    def context(self) -> tuple[Item, ...]:
        """The build context of the Dockerfile, as .dockerignore leaves it.

        config.yaml is ours, not the Dockerfile's: a new description must not build the image again.
        Whatever the file to be built is called, in its context it is the Dockerfile.
        """

        def ignore() -> Ignore:
            return dockerignore(self.folder, self.dockerfile).also("/config.yaml", f"/{BEFORE_MIGRATION}")

        items = self._copied("context", self.folder, ignore)
        if self.dockerfile == "Dockerfile":
            return items
        others = [item for item in items if item.path not in ("Dockerfile", self.dockerfile)]
        built = [replace(item, path="Dockerfile") for item in items if item.path == self.dockerfile]
        return tuple(sorted((*others, *built), key=lambda item: item.path))

    def layer_tree(self, layer: ConfigLayer) -> tuple[Item, ...]:
        """What phase 6 copies of a layer's folder; nothing that .dockerignore keeps out of the image."""
        if not layer.folder.is_dir():
            return ()
        return self._copied("layer", layer.folder, lambda: self.layer_ignore(layer, self.ignore))

    def layer_ignore(self, layer: ConfigLayer, ignore: Ignore) -> Ignore:
        """What is left out of a layer's folder where `ignore` is of all that is copied."""
        # What is in a volume belongs to whoever writes there, and is no part of any image.
        mounted = is_one_of(layer.folder, (volume.source for volume in self.volumes))
        ignore = ignore.also(*OWN_PHASE).also_if(mounted)
        if layer.name == "local":
            ignore = ignore.also(f"/{BEFORE_MIGRATION}", *([f"/{self.dockerfile}"] if self.dockerfile else []))
            # Also where the Dockerfile that it was written for is built no more.
            if self.has_dockerfile or not self.dockerfile:
                ignore = ignore.also_if(dockerignore(self.folder))
        return ignore

    def subtree(self, layer: ConfigLayer, name: str) -> tuple[Item, ...]:
        """The tree of `name` ("tools", "tests") in a layer's folder, empty where there is none."""
        folder = layer.folder / name
        if folder.is_dir():
            return self._copied("", folder, lambda: self.ignore)
        if os.path.lexists(folder):
            raise ConfigError("is no folder", where=f"{layer.shown}/{name}", remedy="make it one, or remove it")
        return ()

    def tree(self, copy: FileCopy) -> tuple[Item, ...]:
        """What an element of `files:` copies; a named file is copied even if .habignore names it."""
        return self._copied("", copy.source, lambda: self.ignore)

    def script(self, test: TestScript) -> Item:
        """A test's script, which can be executed whatever its mode is on the host."""
        return replace(self._copied("", test.source, lambda: self.ignore)[0], kind="file", mode=0o755)

    def _copied(self, purpose: str, root: Path, ignore: Callable[[], Ignore]) -> tuple[Item, ...]:
        """A tree that goes into an image, and so without the files that hold secrets."""

        def left_out() -> Ignore:
            return ignore().also_if(is_one_of(root, self.secret_files))

        return self.sources.tree(purpose, root, left_out)

    def secrets_of(self, phase: str) -> tuple[Secret, ...]:
        """What the commands of a phase may read."""
        return tuple(secret for secret in self.secrets if phase in secret.phases)
