"""A habitat as its phases get it: everything in its config resolved, without a question to the engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct, field

from phases.core.entry_settings import BRIDGE, Limits
from phases.core.files import tree as files_tree
from phases.core.files.habignore import rules_of_tree

if TYPE_CHECKING:
    from pathlib import Path

    from phases.core.agent_text import AgentText
    from phases.core.entry_settings import EntryVariable, HostRule, Persisted, Ready
    from phases.core.files.ignore import Ignore
    from phases.core.hooks import Command, HookCommand, Point
    from phases.core.origin import ConfigLayer, LineOf, Origin
    from phases.core.port import Port
    from phases.core.variables import Env

#: The tmpfs in a container in which each secret is a file. No image has it.
SECRETS_FOLDER = "/run/secrets"
#: The folder in a container with sockets of the person's SSH agent. An image keeps it, empty, since the engine makes a
#: mount point for good.
AGENT_FOLDER = "/run/ssh-agent"

#: Variables that name a user or a folder. The phase that makes it sets the variable, not phase 3.
PHASE_VARIABLES = ("USER", "WORKDIR", "HABITAT_PATH", "SYSTEM_PATH", "SHARED_PATH", "LOCAL_PATH")
#: The values of `workspace`; the first is the default.
WORKSPACES = ("volume", "image")


class FileCopy(Struct, frozen=True):
    """An entry of `files:`, or of `entry.files`.

    Attributes:
        source, shown: The file or folder on the host; the same as the config has it.
        dest: An absolute path, or one below ~.
        owner, mode: NAME or NAME:GROUP, "" for USER; in octal, "" for the default.
        origin: Its line.
        point: When it is copied, None for phase 6 itself, and for `entry.files`.
    """

    source: Path
    shown: str
    dest: str
    owner: str
    mode: str
    origin: Origin
    point: Point | None = None


class Mount(Struct, frozen=True):
    """An entry of `volumes:`.

    Attributes:
        source: The file or folder on the host, without a link in its path.
        shown: The source as the config has it.
        dest: An absolute path, or one below ~ for USER's home.
        readonly, present: Whether the habitat can't write to it; whether this host has the source.
        origin: Its line.
        gives_root: Whether a habitat can become root on the host through it.
        pin: Device and inode of the source.
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
    """An entry of `secrets:`. One of `env`, `file` and `command` is set.

    Attributes:
        name: The name of its file in SECRETS_FOLDER.
        env: The variable of the host that holds it, or "".
        file: The file of the host that holds it, or None.
        command: The command of the host that prints it, or "".
        phases: The phases whose commands see it.
        start: Whether the running habitat sees it.
        variable: The environment variable that holds it as well, "" for none.
        optional, origin: Whether a host may lack it; its line.
        habitat: The habitat whose config has it.
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
    """The value of a secret on this host; `data` is the content of its file in the container."""

    name: str
    data: bytes
    variable: str = ""

    @property
    def path(self) -> str:
        """The file in the container."""
        return f"{SECRETS_FOLDER}/{self.name}"

    @property
    def text(self) -> str:
        """The value of the environment variable: without newlines at its end."""
        return self.data.decode().rstrip("\n")


class RepoClone(Struct, frozen=True):
    """An entry of `repos:`.

    Attributes:
        url, path: The URL for git, without a password; an absolute path, or one below ~.
        branch, ref: A branch, or a tag or a commit; both "" for the default branch.
        depth: The number of commits, 0 for all.
        owner, setup: NAME or NAME:GROUP, "" for USER; the scripts that this user runs in `path`.
        origin, token: Its line; the name of the secret for HTTPS, "" for none.
        known_hosts: The file with the host keys to trust, None if the repository doesn't use the host's SSH agent.
        submodules: Whether its submodules are fetched, too. None leaves them out with a notice.
        lfs: Whether its files in Git LFS are fetched. None leaves that to the image's git.
        local: The folder of a repository of this machine that `url` names, None for another URL.
        writable: Whether its files stay the owner's. Otherwise root gets them after `setup`.
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
    submodules: bool | None = None
    lfs: bool | None = None
    local: Path | None = None
    writable: bool = True


class TestScript(Struct, frozen=True):
    """An entry of `tests:`, which phase 11 copies to `dest` and runs there, if `init` beside the init command."""

    source: Path
    shown: str
    dest: str
    layer: ConfigLayer
    origin: Origin
    init: bool = False


class Build(Struct, frozen=True):
    """The restrictions of a build's commands. `new_privileges` allows them to gain privileges, as sudo does."""

    limits: Limits = field(default_factory=Limits)
    new_privileges: bool = False


class UserIds(Struct, frozen=True):
    """The uid and gid that `uid:` gives to USER."""

    uid: int
    gid: int
    origin: Origin


class Cache(Struct, frozen=True):
    """An entry of `caches:`: an absolute path, or one below ~. If `locked`, one build at a time uses it."""

    path: str
    origin: Origin
    locked: bool = False


class EntryPoint(Struct, frozen=True):
    """How the habitat runs after its build: `startup_delay` in seconds, `shm_size` in bytes.

    network: BRIDGE, NONE or ALLOWLIST, of the hosts `allow`. learns: whether that allows and notes each host.
    """

    init_command: str = ""
    startup_delay: float = 0
    ready: Ready | None = None
    command: str = ""
    network: str = BRIDGE
    allow: tuple[HostRule, ...] = ()
    learns: bool = False
    ports: tuple[Port, ...] = ()
    limits: Limits = field(default_factory=Limits)
    persist: tuple[Persisted, ...] = ()
    instruction_files: tuple[str, ...] = ()
    shm_size: int = 0
    env: tuple[EntryVariable, ...] = ()
    files: tuple[FileCopy, ...] = ()
    ssh_agent: bool = False
    login: str = ""


class Habitat(Struct, frozen=True, dict=True):
    """One habitat, from the merged and checked config of its layers.

    Attributes that are not a key of the config, or not as the config has them:
        folder: habitats/NAME on the host.
        base_origin: The line of `base_image`.
        user_ids: The uid and gid for USER, None if any will do; 0 if `uid: host` has no effect, since that is root.
        secret_files: The files of all secrets, also of those that a later layer replaces.
        required: The paths of `verify-fs`, each with its line.
        timeouts: Seconds, by the name of the phase.
        base_id: The id of the base image, None if the engine doesn't have it.
        dockerfile: The name of the file in `folder` that phase 0 builds if it exists, "" for none.
        sources: Reads what is copied, each tree once.
        personal: The person's own layer, which is not among `layers`, since no phase may use it. None without one.
        line_of: Returns the line of a value of the merged config by its key, None for a key that no layer has.
    """

    name: str
    folder: Path
    description: str
    layers: tuple[ConfigLayer, ...]
    base_image: str
    base_origin: Origin
    env: Env
    user_ids: UserIds | None = None
    files: tuple[FileCopy, ...] = ()
    volumes: tuple[Mount, ...] = ()
    secrets: tuple[Secret, ...] = ()
    secret_files: tuple[Path, ...] = ()
    caches: tuple[Cache, ...] = ()
    setup: tuple[Command, ...] = ()
    take_check: tuple[Command, ...] = ()
    hooks: tuple[HookCommand, ...] = ()
    repos: tuple[RepoClone, ...] = ()
    workspace: str = WORKSPACES[0]
    required: tuple[tuple[str, Origin], ...] = ()
    tests: tuple[TestScript, ...] = ()
    instructions: tuple[AgentText, ...] = ()
    entry: EntryPoint = field(default_factory=EntryPoint)
    build: Build = field(default_factory=Build)
    debug: bool = False
    timeouts: dict[str, float] = field(default_factory=dict)
    base_id: str | None = None
    dockerfile: str = "Dockerfile"
    sources: files_tree.Sources = field(default_factory=files_tree.Sources)
    personal: ConfigLayer | None = None
    line_of: LineOf = lambda _: None

    @property
    def user(self) -> str:
        """USER, by default root."""
        return self.env.get("USER") or "root"

    @property
    def workdir(self) -> str:
        """WORKDIR, by default /."""
        return self.env.get("WORKDIR") or "/"

    @property
    def paths(self) -> dict[str, str]:
        """The habitat's own folders, by the variable that names each."""
        return {name: path for name in PHASE_VARIABLES[2:] if (path := self.env.get(name))}

    @property
    def has_dockerfile(self) -> bool:
        """Return whether phase 0 builds a Dockerfile."""
        return bool(self.dockerfile) and self.sources.has_file(self.folder / self.dockerfile)

    def ignore(self, layer: ConfigLayer, root: Path, more: tuple[str, ...] = (), *, credentials: bool = True) -> Ignore:
        """Return the rules for what is left out of the folder `root`, which a layer copies. Raises ConfigError.

        Args:
            layer: The layer.
            root: The folder.
            more: Patterns besides the built-in ones.
            credentials: Whether the built-in patterns are to name files with credentials.
        """
        return rules_of_tree(root, layer.folder, more, credentials=credentials)

    def layer(self, name: str) -> ConfigLayer:
        """Return the layer with a name."""
        return next(layer for layer in (*self.layers, self.personal) if layer and layer.name == name)

    def shown_layer(self, name: str) -> str:
        """Return a layer's folder as a person sees it; the name of an extend that the habitat no longer has."""
        return next((layer.shown for layer in self.layers if layer.name == name), name)

    def owner_of(self, layer: ConfigLayer) -> str:
        """Return who owns the copies of a layer's files. Those of root are the ones that USER can't replace."""
        return "root" if layer.role in ("system", "extends") else self.user

    def user_named(self, name: str) -> str:
        """Return the user for a name in the config, where "user" and "" mean USER."""
        return self.user if name in ("", "user") else name

    def secrets_of(self, phase: str) -> tuple[Secret, ...]:
        """Return the secrets that the commands of a phase may read."""
        return tuple(secret for secret in self.secrets if phase in secret.phases)
