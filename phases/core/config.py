"""From three config.yaml files to one Habitat.

Coalescing: lists are appended in layer order, mappings merged key by key, a later scalar replaces
an earlier one. Every error names the file and line it came from.
"""

from __future__ import annotations

import json
import os
import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING

from phases.core import engine_socket, git_words, schema, yamltree
from phases.core.errors import ConfigError, Origin, did_you_mean
from phases.core.model import (
    NETWORKS,
    Command,
    EntryPoint,
    FileCopy,
    Habitat,
    Layer,
    Limits,
    Mount,
    RepoClone,
    Secret,
    TestScript,
)
from phases.core.variables import Env

if TYPE_CHECKING:
    from collections.abc import Iterable

    from phases.core.yamltree import Tree

# A path component of an image name, as the engine's reference grammar has it.
NAME = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*")

# It belongs to the program, wherever the project is.
SYSTEM_FOLDER = Path(__file__).resolve().parent.parent / "system"

# Longer ones are refused by useradd and its like.
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}")
_OWNER = re.compile(rf"{_USER.pattern}(:{_USER.pattern})?")

# An image as the engine's reference grammar has it: [HOST[:PORT]/]NAME[/NAME…][:TAG][@DIGEST].
_HOST = r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:]+\])(?::[0-9]+)?"
_IMAGE = re.compile(
    rf"(?:{_HOST}/)?{NAME.pattern}(?:/{NAME.pattern})*(?::\w[\w.-]{{0,127}})?(?:@[A-Za-z0-9_+.-]+:[0-9A-Fa-f]{{32,}})?",
    re.ASCII,
)

# Signs of a habitat's name: an image's has 255 at most, its registry's and `habitat-` among them.
_LONGEST_NAME = 200

# Signs of all that together; 255 of them are for the path.
_LONGEST_IMAGE = 480

# Bytes of one argument that Linux gives a program, its closing NUL apart.
_ARGUMENT = 131_071

# Bytes of a path, some of which are for what comes before and behind; and of each name in it.
_PATH, _NAME = 4000, 255

# Bytes of a line of the changes that the engine commits with, where entry.command is a word of one.
_CHANGE = 65_000

_DAY = 86_400

# The name of a file below /run/secrets; a dot at the beginning is for what is ours there.
_SECRET = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_BYTES = re.compile(r"(\d+(?:\.\d+)?)\s*([kmg]?)(?:i?b)?", re.ASCII | re.IGNORECASE)
# What an engine takes at least, and what no machine has.
_LEAST_MEMORY = 6 << 20
_MOST_CPUS = 4096
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}

#: The phases that run commands of a person's, which secrets can be for.
SECRET_PHASES = ("dockerfile", "setup", "repos", "tools", "test")

_DURATION = re.compile(r"(?:(\d+)h)?\s*(?:(\d+)m)?\s*(?:(\d+)s?)?", re.ASCII)


def habitat_names(root: Path) -> list[str]:
    """The folders below habitats/, by name; hidden ones are nobody's habitat."""
    folder = root / "habitats"
    if not folder.is_dir():
        return []
    return sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and entry.name[0] != ".")


def load(root: Path, name: str, phase_names: Iterable[str]) -> Habitat:
    """Read, coalesce, validate and resolve the habitat `name` of the project at `root`.

    phase_names: what `timeouts:` may name. Raises ConfigError.
    """
    folder = root / "habitats" / name
    shown = f"habitats/{name}"
    if not NAME.fullmatch(name) or len(name) > _LONGEST_NAME:
        raise ConfigError(
            f"'{name}' is no valid image name",
            where=shown,
            remedy="rename the folder: lower-case letters and digits, with single . _ or - between them",
        )
    dockerfile = folder / "Dockerfile"
    if not os.path.lexists(folder / "config.yaml") and not os.path.lexists(dockerfile):
        raise ConfigError("has neither config.yaml nor Dockerfile", where=shown, remedy="add one, or remove the folder")
    layers = (
        Layer("system", SYSTEM_FOLDER, "phases/system"),
        Layer("shared", root / "shared", "shared"),
        Layer("local", folder, shown),
    )
    if os.path.lexists(dockerfile) and not dockerfile.is_file():
        raise ConfigError("is no file", where=f"{shown}/Dockerfile", remedy="make it one, or remove it")
    for layer in layers:
        if os.path.lexists(layer.folder) and not layer.folder.is_dir():
            raise ConfigError("is no folder", where=layer.shown, remedy="make it one, or remove it")
    merged: Tree | None = None
    for layer in layers:
        tree = yamltree.load(layer.folder / "config.yaml", layer=layer.name, shown=f"{layer.shown}/config.yaml")
        merged = tree if merged is None else coalesce(merged, tree, "")
    assert merged is not None
    return _Resolver(root, name, layers, merged, tuple(phase_names)).habitat()


def coalesce(under: Tree, over: Tree, key: str) -> Tree:
    """Lay `over` on `under`. Raises ConfigError where one is a list and the other is not, say."""
    if over.value is None:
        return under
    if under.value is None:
        return over
    if isinstance(under.value, dict) and isinstance(over.value, dict):
        both = dict(under.value)
        for name, tree in over.value.items():
            both[name] = coalesce(both[name], tree, f"{key}.{name}" if key else name) if name in both else tree
        return yamltree.Tree(both, over.origin)
    if isinstance(under.value, list) and isinstance(over.value, list):
        return yamltree.Tree([*under.value, *over.value], over.origin)
    if under.kind != over.kind:
        raise ConfigError(
            f"{key} is {over.kind} here but {under.kind} in {under.origin}",
            where=over.origin,
            remedy=f"write {under.kind}, as there",
        )
    return over


def size(text: str) -> int:
    """Bytes of "512m", "4g", "1.5GiB", 0 of ""; raises ValueError."""
    match = _BYTES.fullmatch(text.strip() or "0")
    if not match:
        raise ValueError(text)
    return int(float(match[1]) * _UNITS[match[2].lower()])


def duration(text: str) -> float:
    """Seconds of "90", "90s", "30m", "1h 30m"; raises ValueError."""
    match = _DURATION.fullmatch(text.strip()) if len(text) < 100 else None
    if not match or not any(match.groups()):
        raise ValueError(text)
    hours, minutes, seconds = (int(part or 0) for part in match.groups())
    total = hours * 3600 + minutes * 60 + seconds
    if not 0 < total <= 365 * _DAY:
        raise ValueError(text)
    return total


class _Resolver:
    """Turns a coalesced, still literal config into a Habitat: variables, users and host paths."""

    def __init__(self, root: Path, name: str, layers: tuple[Layer, ...], tree: Tree, phases: tuple[str, ...]) -> None:
        self.root = root
        self.name = name
        self.tree = tree
        self.layers = layers
        self.phases = phases
        self.config = schema.validate(tree)
        self.env = Env((self._argument(text, "env", i), self.at("env", i)) for i, text in enumerate(self.config.env))

    def at(self, *path: str | int) -> Origin:
        return self.tree.origin_of(path)

    def habitat(self) -> Habitat:
        config = self.config
        folder = self.layers[-1].folder
        if config.name and config.name != self.name:
            raise ConfigError(
                f"name is '{config.name}' but its folder is '{self.name}'",
                where=self.at("name"),
                remedy="give both one name, or leave the key out",
            )
        if not config.base_image and not (folder / "Dockerfile").is_file():
            raise ConfigError(
                "there is no base_image and no Dockerfile",
                where=Origin("local", f"{self.layers[-1].shown}/config.yaml", 1),
                remedy="add `base_image: debian:bookworm-slim`, or a Dockerfile beside it",
            )
        image = config.base_image
        if image and (len(image) > _LONGEST_IMAGE or not _IMAGE.fullmatch(image)):
            raise ConfigError(
                f"base_image: {image!r} is no name of an image",
                where=self.at("base_image"),
                remedy="write it like debian:bookworm-slim",
            )
        self._check_names()
        dests = {f"{layer.name.upper()}_PATH": layer for layer in self.layers}
        self.layers = tuple(
            Layer(layer.name, layer.folder, layer.shown, self.env.get(name)) for name, layer in dests.items()
        )
        # A later layer's secret of the same name takes the place of an earlier one's.
        self.secrets = {entry.name: self._secret(i, entry) for i, entry in enumerate(config.secrets)}
        return Habitat(
            name=self.name,
            folder=folder,
            description=" ".join(config.description.split()),
            layers=self.layers,
            base_image=config.base_image,
            base_origin=self.at("base_image"),
            env=self.env,
            files=tuple(self._file(i, entry) for i, entry in enumerate(config.files)),
            volumes=tuple(self._volumes(config.volumes)),
            secrets=tuple(self.secrets.values()),
            setup=tuple(self._setup(config.setup)),
            repos=tuple(self._repo(i, entry) for i, entry in enumerate(config.repos)),
            required=tuple(self._required()),
            tests=tuple(self._test(i, text) for i, text in enumerate(config.tests)),
            entry=EntryPoint(
                self._init(config.entry.init_command),
                self._delay(config.entry.startup_delay),
                self._entry_command(config.entry.command),
                self._network(config.entry.network),
                self._limits(config.entry.limits),
            ),
            debug=config.debug,
            timeouts=self._timeouts(),
        )

    def _check_names(self) -> None:
        """USER, WORKDIR and the habitat's own paths, which phases build on."""
        for variable in ("USER", "WORKDIR", "HABITAT_PATH", "SYSTEM_PATH", "SHARED_PATH", "LOCAL_PATH"):
            value = self.env.get(variable)
            if not value:
                continue
            origin = self.env.origin(variable)
            if variable != "USER":
                self._check_own_path(variable, value, origin)
            elif not _USER.fullmatch(value) or value.isdigit():
                raise ConfigError(f"USER: {value!r} is no user name", where=origin, remedy="mend it")

    def _check_own_path(self, variable: str, value: str, origin: Origin) -> None:
        self._one_line(value, origin)
        if not value.startswith("/"):
            raise ConfigError(f"{variable}: {value!r} is not absolute", where=origin, remedy="start it with a slash")
        if ".." in value.split("/"):
            raise ConfigError(f"{variable}: {value!r} leads upwards", where=origin, remedy="write where .. leads")
        if ":" in value:
            # tools/bin goes on the PATH
            raise ConfigError(f"{variable}: {value!r} has a colon", where=origin, remedy="PATH ends there: rename it")

    def _text(self, text: str, *path: str | int) -> str:
        return self.env.expand(text, self.at(*path))

    def _one_line(self, text: str, origin: Origin) -> str:
        if not text or any(ord(char) < 32 for char in text):
            raise ConfigError(f"{text!r} is no path", where=origin, remedy="write one path, on one line")
        size = len(text.encode())
        if size > _PATH or any(len(part.encode()) > _NAME for part in text.split("/")):
            raise ConfigError(f"a path of {size:,} bytes: {text[:40]!r}…", where=origin, remedy="use shorter names")
        return text

    def _argument(self, text: str, *path: str | int) -> str:
        if (size := len(text.encode())) > _ARGUMENT:
            raise ConfigError(
                f"{path[0]}: a text of {size:,} bytes is more than Linux gives a program ({_ARGUMENT:,})",
                where=self.at(*path),
                remedy="put it into a file of the habitat's folder, and run or read that",
            )
        return text

    def _inside(self, text: str, *path: str | int) -> str:
        """A path in the habitat: absolute, below ~, or relative to WORKDIR."""
        dest = self._one_line(self._text(text, *path), self.at(*path))
        if dest == "~" or dest.startswith("~/"):
            home = posixpath.normpath(dest)
            if not home.startswith("~"):
                raise ConfigError(f"{dest!r} leaves the home", where=self.at(*path), remedy="write the whole path")
            return home
        # Two slashes at the beginning are kept by normpath, for a reason of POSIX's that is not ours.
        return "/" + posixpath.normpath(posixpath.join(self.env.get("WORKDIR") or "/", dest)).lstrip("/")

    def _outside(self, text: str, *path: str | int, must_exist: bool = True) -> tuple[Path, str, bool]:
        """A path on the host, how the config writes it, and whether it exists.

        Relative to the folder of the config that names it, else to the project's root.
        """
        origin = self.at(*path)
        shown = self._one_line(self._text(text, *path), origin)
        layer = next(layer for layer in self.layers if layer.name == origin.layer)
        candidates = [layer.folder / shown, self.root / shown]
        try:
            if shown.startswith(("/", "~")):
                candidates = [Path(shown).expanduser()]
            found = next((candidate for candidate in candidates if candidate.exists()), None)
        except (OSError, RuntimeError) as error:  # a name too long, a user whose home nobody knows
            raise ConfigError(
                f"{path[0]}: {shown[:80]!r} is no path ({error})", where=origin, remedy="mend it"
            ) from error
        if found:
            return found, shown, True
        if must_exist:
            looked = " nor ".join(
                str(c.relative_to(self.root) if c.is_relative_to(self.root) else c) for c in candidates
            )
            is_not = "there is neither" if len(candidates) > 1 else "there is no"
            raise ConfigError(
                f"{path[0]}: {is_not} {looked} on the host", where=origin, remedy="add it, or mend the path"
            )
        return candidates[0], shown, False

    def _owner(self, text: str, *path: str | int) -> str:
        owner = self._text(text, *path)
        if owner and not _OWNER.fullmatch(owner):
            raise ConfigError(
                f"owner {owner!r} is no user name", where=self.at(*path), remedy="write NAME or NAME:GROUP"
            )
        return "" if owner == "user" else owner

    def _file(self, i: int, entry: schema.File) -> FileCopy:
        if entry.mode and not re.fullmatch(r"[0-7]{3,4}", entry.mode):
            raise ConfigError(
                f"mode {entry.mode!r} is not octal", where=self.at("files", i, "mode"), remedy="write it like 0644"
            )
        source, shown, _ = self._outside(entry.source, "files", i, "source")
        if any(secret.file and secret.file.resolve() == source.resolve() for secret in self.secrets.values()):
            raise ConfigError(
                f"files: {shown} holds a secret, and would be in the image",
                where=self.at("files", i, "source"),
                remedy="take it off the list; commands find it below /run/secrets",
            )
        dest = self._inside(entry.dest, "files", i, "dest")
        if dest == "/" and not source.is_dir():
            where = self.at("files", i, "dest")
            raise ConfigError("a file can't be copied to /", where=where, remedy="write its whole path")
        return FileCopy(
            source=source,
            shown=shown,
            dest=dest,
            owner=self._owner(entry.owner, "files", i, "owner"),
            mode=entry.mode,
            origin=self.at("files", i),
        )

    def _volumes(self, entries: list[schema.Volume]) -> Iterable[Mount]:
        at: dict[str, Origin] = {}
        for i, entry in enumerate(entries):
            mount = self._volume(i, entry)
            if mount.dest in at:
                problem = f"another volume is mounted at {mount.dest} ({at[mount.dest]})"
                raise ConfigError(problem, where=mount.origin, remedy="keep one of them")
            at[mount.dest] = mount.origin
            yield mount

    def _volume(self, i: int, entry: schema.Volume) -> Mount:
        source, shown, present = self._outside(entry.source, "volumes", i, "source", must_exist=not entry.optional)
        where = ("volumes", i, "dest")
        dest = self._inside(entry.dest, *where)
        if dest.startswith("~"):
            # A mount needs its place before there is a user.
            raise ConfigError(
                "a volume's dest can't begin with ~", where=self.at(*where), remedy="write the whole path"
            )
        if dest == "/":
            raise ConfigError("a volume can't take the place of /", where=self.at(*where), remedy="write a folder")
        socket = engine_socket.within(source) if present else None
        if socket and not entry.gives_root_on_the_host:
            raise ConfigError(
                f"volumes: {shown} holds the engine's socket {socket}: whoever has that is root on this machine",
                where=self.at("volumes", i, "source"),
                remedy="leave it out, or say `gives_root_on_the_host: true`",
            )
        return Mount(source, shown, dest, entry.readonly, present, self.at("volumes", i), engine_socket=bool(socket))

    def _secret(self, i: int, entry: schema.Secret) -> Secret:
        def wrong(what: str, remedy: str, *key: str) -> ConfigError:
            return ConfigError(f"secret {entry.name!r} {what}", where=self.at("secrets", i, *key), remedy=remedy)

        if not _SECRET.fullmatch(entry.name):
            raise wrong("is no name for a file", "use letters, digits, _ . and -", "name")
        if sum(map(bool, (entry.env, entry.file, entry.command))) != 1:
            raise wrong("must come from one place", "write one of env, file and command")
        if not entry.phases and not entry.start:
            raise wrong("is for nobody", "name phases, or say start: true")
        for phase in entry.phases:
            if phase not in SECRET_PHASES:
                raise wrong(f"is for {phase!r}, which runs no commands", did_you_mean(phase, SECRET_PHASES), "phases")
        for key in ("env", "variable"):
            word = getattr(entry, key)
            if word and not _VARIABLE.fullmatch(word):
                raise wrong(f"has {word!r}, which is no variable", "write its name, without a $", key)
        file = self._outside(entry.file, "secrets", i, "file", must_exist=False)[0] if entry.file else None
        return Secret(
            name=entry.name,
            env=entry.env,
            file=file,
            command=entry.command,
            phases=tuple(entry.phases),
            start=entry.start,
            variable=entry.variable,
            optional=entry.optional,
            origin=self.at("secrets", i),
        )

    def _setup(self, setup: schema.Setup) -> Iterable[Command]:
        """In order. In the map form root comes first, then USER, then others by name, so that the
        order of keys means nothing here either.
        """
        if isinstance(setup, dict):
            for user in sorted(setup, key=lambda name: (name != "root", name != "user", name)):
                yield from self._commands(user, setup[user], "setup", user)
        else:
            for i, block in enumerate(setup):
                yield from self._commands(block.run_as, block.commands, "setup", i, "commands")

    def _commands(self, user: str, scripts: list[str], *path: str | int) -> Iterable[Command]:
        name = (self.env.get("USER") or "root") if user == "user" else user
        if not _USER.fullmatch(name):
            raise ConfigError(f"{name!r} is no user name", where=self.at(*path), remedy="use root, user or a name")
        for i, script in enumerate(scripts):
            yield Command(name, self._argument(script, *path, i), self.at(*path, i))

    def _repo(self, i: int, entry: schema.Repo) -> RepoClone:
        origin = self.at("repos", i)
        if not 0 <= entry.depth < 2**31:
            raise ConfigError(f"depth is {entry.depth}", where=self.at("repos", i, "depth"), remedy="use 1 or more")
        if entry.branch and entry.ref:
            raise ConfigError("has both branch and ref", where=origin, remedy="keep the one you mean")
        words = {key: self._text(getattr(entry, key), "repos", i, key) for key in ("url", "branch", "ref")}
        for key, word in words.items():
            check = git_words.check_url if key == "url" else git_words.check_ref
            try:
                check(word)
            except ValueError as error:
                problem, remedy = error.args
                raise ConfigError(problem.format(key), where=self.at("repos", i, key), remedy=remedy) from None
        owner = self._owner(entry.owner, "repos", i, "owner")
        user = owner.partition(":")[0] or self.env.get("USER") or "root"
        return RepoClone(
            **words,
            path=self._inside(entry.path, "repos", i, "path"),
            depth=entry.depth,
            owner=owner,
            setup=tuple(self._commands(user, entry.setup, "repos", i, "setup")),
            origin=origin,
            token=self._token(i, entry, words["url"]),
            known_hosts=self._known_hosts(i, entry),
        )

    def _token(self, i: int, entry: schema.Repo, url: str) -> str:
        """The secret that a repository is fetched with. It goes nowhere but to the URL's own host."""
        if not entry.token:
            return ""
        where = self.at("repos", i, "token")
        able = [secret.name for secret in self.secrets.values() if "repos" in secret.phases]
        if entry.token not in able:
            remedy = did_you_mean(entry.token, able) if able else "add one to secrets:, with phases: [repos]"
            raise ConfigError(f"there is no secret '{entry.token}' for repos", where=where, remedy=remedy)
        if not url.startswith("https://"):
            raise ConfigError("a token is sent by HTTPS only", where=where, remedy="use the repository's https:// URL")
        return entry.token

    def _known_hosts(self, i: int, entry: schema.Repo) -> Path | None:
        if not entry.ssh_agent:
            if entry.known_hosts:
                where = self.at("repos", i, "known_hosts")
                raise ConfigError("known_hosts is for SSH", where=where, remedy="say ssh_agent: true as well")
            return None
        if entry.known_hosts:
            return self._outside(entry.known_hosts, "repos", i, "known_hosts")[0]
        return Path("~/.ssh/known_hosts").expanduser()

    def _required(self) -> Iterable[tuple[str, Origin]]:
        for i, text in enumerate(self.config.verify_fs.required_files):
            path = ("verify-fs", "required_files", i)
            yield self._inside(text, *path), self.at(*path)

    def _test(self, i: int, text: str) -> TestScript:
        source, shown, _ = self._outside(text, "tests", i)
        origin = self.at("tests", i)
        if not source.is_file():
            raise ConfigError(f"tests: {shown} is not a file", where=origin, remedy="name a script")
        source = Path(os.path.normpath(source))
        layer = next(layer for layer in self.layers if layer.name == origin.layer)
        inside = source.is_relative_to(layer.folder)
        place = source.relative_to(layer.folder) if inside else f"tests/{source.name}"
        return TestScript(source, shown, f"{layer.dest or '/tmp/habitat'}/{place}", layer, origin)  # noqa: S108

    def _init(self, text: str) -> str:
        init = self._argument(self._text(text, "entry", "init_command"), "entry", "init_command")
        if init and not init.strip():
            where = self.at("entry", "init_command")
            raise ConfigError("init_command is blank", where=where, remedy="write a command, or leave the key out")
        return init

    def _entry_command(self, text: str) -> str:
        command = self._text(text, "entry", "command")
        if len(json.dumps(command)) > _CHANGE:
            where = self.at("entry", "command")
            raise ConfigError(
                f"entry.command is longer than an image can hold ({len(command.encode()):,} bytes)",
                where=where,
                remedy="put it into a file of the habitat's folder, and run that",
            )
        return command

    def _delay(self, seconds: float) -> float:
        if not 0 <= seconds <= _DAY:
            where = self.at("entry", "startup_delay")
            raise ConfigError(f"startup_delay is {seconds:g}", where=where, remedy=f"write seconds, 0 to {_DAY}")
        return seconds

    def _network(self, network: str) -> str:
        if network and network not in NETWORKS:
            where = self.at("entry", "network")
            raise ConfigError(f"network is {network!r}", where=where, remedy=f"write {' or '.join(NETWORKS)}")
        return network or NETWORKS[0]

    def _limits(self, limits: schema.Limits) -> Limits:
        where = ("entry", "limits")
        try:
            memory = size(limits.memory)
        except ValueError:
            remedy = "write it like 512m or 4g"
            raise ConfigError(f"{limits.memory!r} is no size", where=self.at(*where, "memory"), remedy=remedy) from None
        if 0 < memory < _LEAST_MEMORY:
            raise ConfigError("memory is too little to run in", where=self.at(*where, "memory"), remedy="give it 6m")
        if not 0 <= limits.cpus <= _MOST_CPUS:
            raise ConfigError(f"cpus is {limits.cpus:g}", where=self.at(*where, "cpus"), remedy="write it like 1.5")
        if limits.pids < 0:
            raise ConfigError(f"pids is {limits.pids}", where=self.at(*where, "pids"), remedy="write it like 4096")
        return Limits(memory, limits.cpus, limits.pids)

    def _timeouts(self) -> dict[str, float]:
        result = {}
        for phase, text in self.config.timeouts.items():
            where = self.at("timeouts", phase)
            if phase not in self.phases:
                raise ConfigError(
                    f"timeouts: there is no phase '{phase}'", where=where, remedy=did_you_mean(phase, self.phases)
                )
            try:
                result[phase] = duration(text)
            except ValueError:
                remedy = "write it like 90s, 30m or 1h 30m"
                raise ConfigError(f"timeouts: {text!r} is no duration", where=where, remedy=remedy) from None
        return result
