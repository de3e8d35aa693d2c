"""An engine in memory, behind the same protocol as the real one. tests/contract runs on both.

Images hold a whole filesystem, containers a copy of one. Nothing runs: commands go to `on_execute`,
and what that leaves to a tiny shell (fake_shell).
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import posixpath
import re
import shlex
import signal
import socket
import tarfile
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING

import fake_workspaces
from fake_files import Files, MountedNodes, Node
from fake_shell import Shell, SleepTooLong
from msgspec.structs import replace

from phases.core.container import init_process, memory_limit, side_effects
from phases.core.engine.confinement.restrictions import UNCONFINED, ContainerLimits, Restrictions
from phases.core.engine.docker_api.api import refusal
from phases.core.engine.timeouts import ResponseTimeout
from phases.core.engine.types import (
    LARGEST_FILE,
    Bind,
    Change,
    Container,
    Image,
    ImageConfig,
    ImageSize,
    Layer,
    PathInfo,
    PortRefused,
    Stat,
    Tmpfs,
    Volume,
    VolumeMount,
)
from phases.core.errors import Conflict, EngineError, HabitatError, NotFound, PhaseTimeout
from phases.core.network import proxy
from phases.core.runtime.persistence import collect as persistence_collect
from phases.core.runtime.persistence import fill as persistence_fill
from phases.core.runtime.session import hang_up
from phases.core.secrets import delivery
from phases.core.work import git

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from phases.core.engine.output import OnLine
    from phases.core.engine.protocol import Exec, OnPull, Piped
    from phases.core.files.tar import DockerfileArchive
    from phases.core.model import Value
    from phases.core.port import Port

#: When volumes are made.
MADE = "2026-01-01T00:00:00Z"


@dataclass
class FakeImage:
    config: ImageConfig
    labels: dict[str, str]
    files: Files
    parent: str = ""
    #: What it rests on where the engine doesn't call that its parent, as with BuildKit.
    below: str = ""
    created: datetime | None = None


@dataclass
class FakeContainer:
    id: str
    name: str
    image: str
    command: tuple[str, ...]
    env: dict[str, str]
    labels: dict[str, str]
    binds: tuple[Bind, ...]
    workdir: str
    files: Files
    tmpfs: str = ""
    restrictions: Restrictions = UNCONFINED
    ports: tuple[Port, ...] = ()
    published: tuple[Port, ...] = ()
    memory: dict[str, tuple[str, bytes]] = field(default_factory=dict)  # in the tmpfs: path to owner and content
    running: bool = False
    paused: bool = False
    left_running: bool = False  # something that a command has begun goes on
    log: list[str] = field(default_factory=list)
    execs: list[FakeExec | FakePipedExec] = field(default_factory=list)
    since: datetime = field(default_factory=lambda: datetime.now(UTC))
    volumes: tuple[str, ...] = ()
    log_bytes: int = 0
    stop_signal: str = ""
    user: str = ""
    memory_kills: int = 0
    out_of_memory: bool = False
    volume_mounts: tuple[VolumeMount, ...] = ()

    def seen(self) -> Container:
        return Container(
            self.id,
            self.name,
            self.image,
            self.running,
            dict(self.labels),
            self.command,
            tuple(self.binds),
            self.since,
            self.published if self.running else (),
            self.out_of_memory,
            limits=limits_of(self.restrictions),
            volumes=tuple(VolumeMount(mount.volume, mount.dest, copies=False) for mount in self.volume_mounts),
        )


@dataclass(frozen=True)
class Command:
    """What an `execute` was asked for. script: of a `sh -c`; args: its $1, $2, …"""

    container: FakeContainer
    argv: tuple[str, ...]
    user: str
    workdir: str
    env: Mapping[str, str]
    stdin: bytes = b""

    @property
    def _operands(self) -> tuple[str, ...]:
        """What comes after the options of a `sh -c`: the script, its name, its arguments."""
        operands = self.argv[self.argv.index("-c") + 1 :] if "-c" in self.argv else ()
        return operands[1:] if operands[:1] == ("--",) else operands

    @property
    def script(self) -> str:
        return next(iter(self._operands), "")

    @property
    def args(self) -> tuple[str, ...]:
        return self._operands[2:]


class FakeEngine:
    """See Engine. calls: every call that changes something, as (method, arguments…).

    registry: what `pull` can bring; on_execute: returns exit code and output of a command, or None
    to leave it to the shell; failures: an error to raise, by method.
    """

    def __init__(self) -> None:
        self.address = f"fake://{uuid.uuid4()}"
        self.timeout = ResponseTimeout()
        self.proxies: Mapping[str, str] = {}
        self.max_layers = 125
        self.calls: list[tuple[str, ...]] = []
        self.registry: dict[str, FakeImage] = {}
        self.on_execute: Callable[[Command], tuple[int, str | bytes] | None] | None = None
        self.failures: dict[str, HabitatError] = {}
        self.commands: list[Command] = []
        self._images: dict[str, FakeImage] = {}
        self._tags: dict[str, str] = {}
        self._containers: dict[str, FakeContainer] = {}
        self._volumes: dict[str, tuple[Volume, dict[str, Node]]] = {}
        self._made = 0

    # For tests

    def add_image(self, reference: str = "", files: Files | None = None, **config: object) -> str:
        """Register an image. config: fields of ImageConfig, and labels. Returns its id."""
        labels = config.pop("labels", {})
        assert isinstance(labels, dict)
        made = replace(ImageConfig(self._new_id("sha256:"), platform="linux/amd64"), **config)
        self._images[made.id] = FakeImage(made, dict(labels), files or base_files())
        if reference:
            self._tags[reference] = made.id
        return made.id

    def called(self, *methods: str) -> list[tuple[str, ...]]:
        """The calls of some methods, in order."""
        return [call for call in self.calls if call[0] in methods]

    def files(self, reference: str) -> Files:
        """The filesystem of an image or a container."""
        if reference in self._containers or any(c.name == reference for c in self._containers.values()):
            return self._container(reference).files
        return self._image(reference).files

    def tags(self) -> dict[str, str]:
        return dict(self._tags)

    def _record(self, method: str, *arguments: str) -> None:
        self.calls.append((method, *arguments))
        if method in self.failures:
            raise self.failures[method]

    def _new_id(self, prefix: str = "") -> str:
        self._made += 1
        return prefix + hashlib.sha256(str(self._made).encode()).hexdigest()

    # Images

    def platform(self) -> str:
        return "linux/amd64"

    def images(self) -> list[Image]:
        self._record("images")
        return [
            Image(image_id, self._tags_of(image_id), dict(image.labels))
            for image_id, image in list(self._images.items())
            if self._tags_of(image_id) or not self._children(image_id)
        ]

    def stored(self) -> list[ImageSize]:
        self._record("stored")
        return [
            ImageSize(image_id, image.parent, sum(layer.size for layer in self._layers(image_id)), image.created)
            for image_id, image in list(self._images.items())
        ]

    def layers(self, image: str) -> list[Layer]:
        self._record("layers", image)
        self._image(image)
        return self._layers(self._id_of(image) or "")

    def _layers(self, image_id: str) -> list[Layer]:
        """An image that nothing is below, or not any more, is one layer."""
        image = self._images[image_id]
        below = self._images.get(image.parent or image.below)
        known = below.files.nodes if below else {}
        size = sum(len(node.content) for path, node in image.files.nodes.items() if known.get(path) != node)
        return [*(self._layers(below.config.id) if below else ()), Layer(image_id, size)]

    def _tags_of(self, image_id: str) -> tuple[str, ...]:
        return tuple(tag for tag, tagged in list(self._tags.items()) if tagged == image_id)

    def _children(self, image_id: str) -> list[str]:
        return [child for child, image in list(self._images.items()) if image.parent == image_id]

    def _id_of(self, reference: str) -> str | None:
        if reference in self._images:
            return reference
        tag = reference if ":" in reference.rpartition("/")[2] else f"{reference}:latest"
        return self._tags.get(tag)

    def _image(self, reference: str) -> FakeImage:
        image_id = self._id_of(reference)
        if image_id is None:
            raise NotFound(f"No such image: {reference}")
        return self._images[image_id]

    def image_config(self, reference: str) -> ImageConfig | None:
        image_id = self._id_of(reference)
        if not image_id:
            return None
        image = self._images[image_id]
        size = sum(layer.size for layer in self._layers(image_id))
        return replace(image.config, size=size, labels=dict(image.labels))

    def pull(self, reference: str, on_pull: OnPull) -> None:
        self._record("pull", reference)
        if reference not in self.registry:
            raise EngineError(f"pulling {reference}: manifest unknown")
        on_pull("abc123", "Downloading", 50, 100)
        on_pull("abc123", "Pull complete", 0, 0)
        image = self.registry[reference]
        self._images[image.config.id] = image
        self._tags[reference] = image.config.id

    def build(self, context: DockerfileArchive, tag: str, on_line: OnLine, secrets: Sequence[Value] = ()) -> str:
        """Understands FROM, RUN, COPY, and what `commit` does."""
        self._record("build", tag, *(value.name for value in secrets))
        files = Files()
        files.unpack("/", context.tar)
        script = files.find(f"/{context.dockerfile}")
        if script is None:
            raise EngineError("docker build ended with exit code 1")
        for name in context.hidden:
            del files.nodes[f"/{name}"]
        image_id = ""
        for row in script.content.decode().splitlines():
            if not row or row.startswith("#"):
                continue
            on_line(row)
            word, _, rest = row.partition(" ")
            if word == "FROM":
                base = self._image(rest)
                image_id = self._new_id("sha256:")
                image = FakeImage(
                    replace(base.config, id=image_id), dict(base.labels), base.files.copy(), below=base.config.id
                )
                self._images[image_id] = image
            elif word == "COPY":
                _copy(files, image.files, *rest.split())
            elif word == "RUN":
                shell = Shell(image.files, image.config.env, "root", 0, image.config.workdir, lambda *_: None)
                if shell.run(rest, errexit=True):
                    raise EngineError("docker build ended with exit code 1")
            else:
                _apply(image, row)
        self._tags[tag] = image_id
        return image_id

    def tag(self, image: str, reference: str) -> None:
        self._record("tag", image, reference)
        if (image_id := self._id_of(image)) is None:
            raise NotFound(f"No such image: {image}")
        self._tags[reference] = image_id

    def untag(self, reference: str) -> None:
        self._record("untag", reference)
        image_id = self._tags.pop(reference, None)
        if image_id:
            self._collect(image_id)

    def remove_image(self, image: str) -> bool:
        self._record("remove_image", image)
        image_id = self._id_of(image)
        if image_id is None:
            return True
        if self._tags_of(image_id) or self._needed(image_id):
            return False
        self._collect(image_id)
        return True

    def _needed(self, image_id: str) -> bool:
        """Whether something rests on it or uses it."""
        return bool(self._children(image_id)) or any(c.image == image_id for c in self._containers.values())

    def _collect(self, image_id: str) -> None:
        """Remove an image that nothing names or needs, and then its parents likewise."""
        while image_id in self._images and not self._tags_of(image_id) and not self._needed(image_id):
            image_id = self._images.pop(image_id).parent

    # Containers

    def create(
        self,
        image: str,
        name: str,
        command: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
        mounts: Sequence[Bind | Tmpfs | VolumeMount] = (),
        hostname: str = "",
        restrictions: Restrictions = UNCONFINED,
        ports: Sequence[Port] = (),
        log_bytes: int = 0,
        stop_signal: str = "",
        user: str = "",
    ) -> str:
        self._record("create", image, name)
        new_image = self._image(image)
        if any(container.name == name for container in self._containers.values()):
            raise Conflict(f"creating container {name}: the name is already in use")
        binds = tuple(mount for mount in mounts if isinstance(mount, Bind))
        for bind in binds:
            if not Path(bind.source).exists():
                raise EngineError(f"bind source path does not exist: {bind.source}")
        files = new_image.files.copy()
        # As an engine, which mounts at the place that links lead to.
        named = [replace(mount, dest=files.resolve(mount.dest)) for mount in mounts if isinstance(mount, VolumeMount)]
        taken = {mount.dest for mount in named} | {bind.dest for bind in binds}
        named += [VolumeMount(self._new_id(), folder) for folder in new_image.config.volumes if folder not in taken]
        files.nodes = MountedNodes(dict(files.nodes), {mount.dest: self._mounted(mount, files) for mount in named})
        container = FakeContainer(
            id=self._new_id(),
            name=name,
            image=new_image.config.id,
            command=tuple(command),
            env={**new_image.config.env, **(env or {})},
            labels={**new_image.labels, **(labels or {})},
            binds=binds,
            workdir=new_image.config.workdir,
            files=files,
            volumes=tuple(mount.volume for mount in named),
            volume_mounts=tuple(named),
            tmpfs=next((mount.dest for mount in mounts if isinstance(mount, Tmpfs)), ""),
            restrictions=restrictions,
            ports=tuple(ports),
            log_bytes=log_bytes,
            stop_signal=stop_signal,
            user=user,
        )
        self._containers[container.id] = container
        return container.id

    def _mounted(self, mount: VolumeMount, files: Files) -> dict[str, Node]:
        """What is in a volume; in an empty one of an image it is what that has at the place."""
        volume = Volume(mount.volume, dict(mount.labels), MADE)
        _, nodes = self._volumes.setdefault(mount.volume, (volume, {"/": Node("dir")}))
        if len(nodes) == 1 and mount.copies:
            inside = {path: node for path, node in files.nodes.items() if f"{path}/".startswith(f"{mount.dest}/")}
            nodes |= {path[len(mount.dest) :] or "/": node for path, node in inside.items()}
        return nodes

    def _container(self, reference: str) -> FakeContainer:
        for container in self._containers.values():
            if reference in (container.id, container.name):
                return container
        raise NotFound(f"No such container: {reference}")

    def _find(self, reference: str) -> FakeContainer | None:
        try:
            return self._container(reference)
        except NotFound:
            return None

    def start(self, container: str) -> None:
        self._record("start", container)
        target = self._container(container)
        target.published = self._publish(target)
        target.running, target.since = True, datetime.now(UTC)
        if target.command == init_process.IDLE_FOR_PROBE or target.command[0].startswith(proxy.PROGRAMS):
            return
        command = Command(target, target.command, "root", target.workdir, {})
        try:
            self._shell(command, lambda data, _: target.log.extend(data.decode().splitlines()), patience=0)
            target.running, target.since = False, datetime.now(UTC)
        except SleepTooLong:
            pass

    def _publish(self, container: FakeContainer) -> tuple[Port, ...]:
        """Its ports, those with a number that the host has still free in place of 0."""
        others = [port for other in self._containers.values() for port in other.seen().ports if other is not container]
        given: list[Port] = []
        for port in sorted(container.ports):
            if any(port.meets(other) for other in others):
                raise PortRefused("port is already allocated", port, taken=True)
            self._made += not port.host
            given.append(port if port.host else replace(port, host=32768 + self._made))
        return tuple(given)

    def stop(self, container: str, grace: int = 10) -> None:
        self._record("stop", container)
        if target := self._find(container):
            if target.running:
                target.running, target.since = False, datetime.now(UTC)
            target.memory.clear()

    def remove(self, container: str, *, on_sent: Callable[[], None] = lambda: None) -> None:
        on_sent()
        self._record("remove", container)
        if target := self._find(container):
            self._containers.pop(target.id, None)  # another thread may remove it as well
            used = {name for other in self._containers.values() for name in other.volumes}
            for name in {*target.volumes} - used:
                if len(name) == 64:  # nobody has named it
                    self._volumes.pop(name, None)

    def rename(self, container: str, name: str) -> None:
        self._record("rename", container, name)
        target = self._container(container)
        if any(other.name == name for other in self._containers.values()):
            raise Conflict(f"renaming a container to {name}: the name is already in use")
        target.name = name

    def container(self, name: str) -> Container | None:
        container = self._find(name)
        return container.seen() if container else None

    def containers(self, *, label: str = "", name_prefix: str = "", volume: str = "") -> list[Container]:
        key, has_value, value = label.partition("=")
        return [
            replace(container.seen(), command=(), since=None, limits=None, volumes=())
            for container in self._containers.values()
            if container.name.startswith(name_prefix)
            and (not volume or volume in container.volumes)
            and (not label or (key in container.labels and (not has_value or container.labels[key] == value)))
        ]

    def commit(self, container: str, changes: Sequence[str], comment: str = "", *, pause: bool = True) -> str:
        self._record("commit", container)
        target = self._container(container)
        config = ImageConfig(
            self._new_id("sha256:"), dict(target.env), user="0", workdir=target.workdir, comment=comment
        )
        before = self._images[target.image].config
        layers = before.layers + (target.files.nodes != self._images[target.image].files.nodes)
        if before.layers >= self.max_layers:  # as an engine: also where no file has changed
            raise refusal("committing the container", 500, "max depth exceeded")
        config = replace(config, volumes=before.volumes, platform=before.platform, layers=layers)
        image = FakeImage(
            config, dict(target.labels), target.files.copy(), parent=target.image, created=datetime.now(UTC)
        )
        for change in changes:
            _apply(image, change)
        if not image.config.entrypoint and not image.config.command:
            image.config = replace(image.config, command=target.command)
        self._images[config.id] = image
        return config.id

    def set_limits(self, container: str, limits: ContainerLimits) -> bool:
        self._record("set_limits", container)
        target = self._container(container)
        if not limits_of(target.restrictions).can_become(limits):
            return False
        target.restrictions = replace(
            target.restrictions, memory=limits.memory, cpus=limits.cpus / 1e9, pids=limits.pids
        )
        return True

    def changed_bytes(self, container: str) -> int:
        target = self._container(container)
        before = self._images[target.image].files.nodes
        return sum(len(node.content) for path, node in target.files.own.items() if before.get(path) != node)

    def carry(self, container: str, like: str, labels: Mapping[str, str], comment: str) -> str:
        model = self._image(like)
        self._record("carry", container, like)
        image = self._images[self.commit(container, (), comment)]
        del self.calls[-1]
        config = replace(model.config, id=image.config.id, comment=comment, layers=image.config.layers)
        self._images[config.id] = dataclasses.replace(
            image, config=config, labels=dict(labels), parent="", below=image.parent
        )
        return config.id

    def flatten(self, image: str, below: int, folder: Path) -> str:
        assert list(folder.iterdir()) == []
        self._record("flatten", image)
        before = self._image(image)
        config = replace(before.config, id=self._new_id("sha256:"), layers=below + 1)
        self._images[config.id] = dataclasses.replace(before, config=config, parent="", below="")
        return config.id

    # Inside a container

    def exec(
        self,
        container: str,
        argv: Sequence[str],
        *,
        user: str = "",
        workdir: str = "",
        env: Mapping[str, str] | None = None,
        stdin: bytes = b"",
        on_output: Callable[[bytes, bool], None] | None = None,
        timeout: float | None = None,
    ) -> int:
        self._record("exec", container, user, *argv)
        target = self._awake(container)
        command = Command(target, tuple(argv), user or "0", workdir or target.workdir, dict(env or {}), stdin)
        expected = ""
        if command.script == side_effects._WATCH.text:
            _, expected, *watched = command.argv[2:]
            command = dataclasses.replace(command, argv=tuple(watched))
        self.commands.append(command)
        output = on_output or (lambda *_: None)
        try:
            code = self._run(command, output, patience=timeout)
        except SleepTooLong:
            target.running = False
            raise PhaseTimeout("timed out") from None
        if expected and not code and target.command == init_process.IDLE_FOR_PROBE and not target.left_running:
            output(b"\0" + expected.encode(), True)
        return code

    def _running(self, container: str) -> FakeContainer:
        target = self._container(container)
        if not target.running:
            raise Conflict(f"container {container} is not running")
        return target

    def _awake(self, container: str) -> FakeContainer:
        target = self._running(container)
        if target.paused:
            raise Conflict(f"container {container} is paused")
        return target

    def _run(self, command: Command, output: Callable[[bytes, bool], None], patience: float | None) -> int:
        folder = command.container.files.find(command.workdir or "/")
        if not _known(command) or folder is None or folder.kind != "dir":
            return 126
        if patience is not None and patience <= 0:
            raise SleepTooLong
        if self.on_execute and (answer := self.on_execute(command)) is not None:
            code, printed = answer
            if printed:
                output(printed.encode() if isinstance(printed, str) else printed, False)
            return code
        if command.script.startswith(git.FUNCTIONS.text):  # no image here has git
            return 0
        if command.script == hang_up._HANG_UP.text:
            variable, to_all, to_end, *_ = command.args
            own = [process for process in command.container.execs if process.running and variable in process.env]
            for process in own if to_all or to_end else ():
                process.hang_up()
            output(b" 7 \n 7 \n", False)
            return len(own)
        return self._shell(command, output, patience)

    @staticmethod
    def _shell(  # noqa: C901, PLR0911 (one for each script)
        command: Command, output: Callable[[bytes, bool], None], patience: float | None
    ) -> int:
        container, argv = command.container, command.argv
        if command.script == delivery._RECEIVE.text:
            path, owner, size = command.args
            assert container.tmpfs == posixpath.dirname(path)
            container.memory[path] = (owner, command.stdin[: int(size)])
            return 0
        if command.script == memory_limit._KILLS.text:
            output(b"%d\n" % container.memory_kills, False)
            return 0
        if command.script == delivery._READ.text:
            for path, (owner, data) in container.memory.items():
                number = _uid(dataclasses.replace(command, user=owner))
                output(f"{posixpath.basename(path)} {number} {len(data)}\n".encode() + data, False)
            return 0
        if command.script == delivery._WITHDRAW.text:
            folder, *names = command.args
            container.memory = {
                path: node for path, node in container.memory.items() if path[len(folder) + 1 :] in names
            }
            return 0
        if command.script == persistence_collect._COLLECT.text:
            return _collect(container.files, _uid(command) or 0, *command.args, output=output)
        if command.script == persistence_fill._SET_OWNER.text:
            uid, gid, *folders = command.args
            for folder in folders:
                _give(container.files, folder, int(uid), int(gid))
            return 0
        if (code := fake_workspaces.run(command.script, container.files, command.args, output)) is not None:
            return code
        shell = Shell(
            container.files,
            {**container.env, **command.env},
            command.user,
            _uid(command) or 0,
            command.workdir,
            output,
            command.args,
            patience,
            {bind.dest: bind.source for bind in container.binds},
            command.stdin,
            {path: data for path, (_, data) in container.memory.items()},
        )
        if command.script:
            return shell.run(command.script, errexit="-e" in argv)
        return shell.run(shlex.join(argv), errexit=False)

    def exec_tty(
        self,
        container: str,
        argv: Sequence[str],
        *,
        user: str,
        workdir: str,
        env: Mapping[str, str],
        size: tuple[int, int],
    ) -> Exec:
        self._record("exec_tty", container, user, *argv)
        target = self._awake(container)
        command = Command(target, tuple(argv), user, workdir, dict(env))
        self.commands.append(command)
        process = FakeExec(env)
        if "-c" in argv and not command.script.endswith("exec /bin/sh"):  # a shell waits for what is typed
            process.end(self._run(command, lambda data, _: process.say(data), patience=None))
        target.execs.append(process)
        return process

    def exec_piped(
        self, container: str, argv: Sequence[str], *, user: str, workdir: str, env: Mapping[str, str]
    ) -> Piped:
        self._record("exec_piped", container, user, *argv)
        target = self._awake(container)

        def run(stdin: bytes, output: Callable[[bytes, bool], None]) -> int:
            command = Command(target, tuple(argv), user, workdir, dict(env), stdin)
            self.commands.append(command)
            return self._run(command, output, patience=None)

        process = FakePipedExec(run, env)
        target.execs.append(process)
        return process

    def running_execs(self, container: str) -> int:
        return sum(process.running for process in self._container(container).execs)

    def put_archive(self, container: str, folder: str, archive: IO[bytes]) -> None:
        self._record("put_archive", container, folder)
        files = self._container(container).files
        node = files.find(folder)
        if node is None or node.kind != "dir":
            raise NotFound(f"copying into {folder}: no such folder")
        try:
            files.unpack(files.resolve(folder), archive)
        except (tarfile.TarError, FileExistsError) as error:
            raise EngineError(f"copying into {folder}: {error}") from error

    def read_file(self, container: str, path: str) -> bytes | None:
        self._record("read_file", container, path)
        target = self._find(container)
        node = target.files.find(path) if target else None
        if node and len(node.content) > LARGEST_FILE:
            raise EngineError(f"reading {path!a}: it is larger than {LARGEST_FILE >> 20} MB")
        return node.content if node and node.kind == "file" else None

    def stat(self, container: str, path: str) -> Stat | None:
        target = self._find(container)
        node = target.files.find(path, last=False) if target else None
        if target is None or node is None:
            return None
        link = target.files.resolve(path) if node.kind == "link" else ""
        edition = hashlib.sha256(node.content).hexdigest() if node.kind == "file" else ""
        return Stat(node.kind == "dir", node.mode, link, edition)

    def path_info(self, container: str, path: str, *, content: bool = False) -> PathInfo | None:
        self._record("path_info", container, path)
        target = self._find(container)
        node = target.files.find(path, last=False) if target else None
        if node is None:
            return None
        if content and len(node.content) > LARGEST_FILE:
            raise EngineError(f"reading {path!a}: it is larger than {LARGEST_FILE >> 20} MB")
        data = node.content if content else b""
        return PathInfo(node.kind, node.mode, node.uid, node.gid, node.target, data)  # type: ignore[arg-type]

    def pause(self, container: str) -> None:
        self._record("pause", container)
        self._running(container).paused = True

    def unpause(self, container: str) -> None:
        self._record("unpause", container)
        self._running(container).paused = False

    def changes(self, container: str) -> list[Change]:
        target = self._container(container)
        before, after = self._images[target.image].files.nodes, target.files.own
        return [
            Change(path, "added" if path not in before else "deleted" if path not in after else "changed")
            for path in sorted({*before, *after})
            if before.get(path) != after.get(path)
        ]

    def logs(self, container: str, lines: int) -> list[str]:
        return self._container(container).log[-lines:]

    def output(self, container: str, on_output: Callable[[bytes], None], *, follow: bool = False) -> None:
        """Nothing goes on printing: `follow` ends where the output does."""
        self._record("output", container, str(follow))
        for line in self._container(container).log:
            on_output(f"{line}\n".encode())

    # Volumes

    def volumes(self, *, label: str = "") -> list[Volume]:
        key, has_value, value = label.partition("=")
        volumes = [volume for volume, _ in list(self._volumes.values())]
        volumes = [v for v in volumes if not label or (key in v.labels and (not has_value or v.labels[key] == value))]
        return sorted(volumes, key=lambda volume: volume.name)

    def create_volume(self, name: str, labels: Mapping[str, str]) -> Volume:
        self._record("create_volume", name)
        volume = Volume(name, dict(labels), MADE)
        return self._volumes.setdefault(name, (volume, {"/": Node("dir")}))[0]

    def remove_volume(self, name: str) -> None:
        self._record("remove_volume", name)
        if any(name in container.volumes for container in self._containers.values()):
            raise Conflict(f"removing volume {name}: volume is in use")
        self._volumes.pop(name, None)


class FakeExec:
    """A shell with a terminal, which knows `exit N` and else repeats what is typed. env: its assignments."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self.env = {f"{name}={value}" for name, value in env.items()}
        self._reader, self._writer = os.pipe()
        self._code = 0
        self.running = True
        self.sizes: list[tuple[int, int]] = []

    def say(self, data: bytes) -> None:
        os.write(self._writer, data)

    def end(self, code: int) -> None:
        self.running, self._code = False, code
        os.close(self._writer)

    def fileno(self) -> int:
        return self._reader

    def read(self) -> bytes | None:
        return os.read(self._reader, 65536) or None

    def write(self, data: bytes) -> None:
        if not self.running:
            return
        self.say(data)
        if match := re.search(rb"exit (\d+)", data):
            self.end(int(match[1]))

    is_suspended = False

    def resume(self) -> None:
        raise AssertionError("it is never suspended")

    def resize(self, rows: int, columns: int) -> None:
        self.sizes.append((rows, columns))

    def hang_up(self) -> None:
        self.end(129)

    def exit_code(self) -> int:
        return self._code

    def close(self) -> None:
        os.close(self._reader)


class FakePipedExec:
    """A command that runs once it has all of its input, or a signal ended it. signals: what it was sent."""

    def __init__(self, run: Callable[[bytes, Callable[[bytes, bool], None]], int], env: Mapping[str, str]) -> None:
        self.env = {f"{name}={value}" for name, value in env.items()}
        self._reader, self._writer = socket.socketpair()  # one can wait for it to take input, too
        self._run = run
        self._stdin = b""
        self._printed: list[tuple[bytes, bool]] = []
        self._code = 0
        self.running = True
        self.signals: list[str] = []

    def fileno(self) -> int:
        return self._reader.fileno()

    def read(self) -> list[tuple[bytes, bool]] | None:
        printed, self._printed = self._printed, []
        return printed or None

    def write(self, data: bytes) -> int:
        self._stdin += data[:5]  # never much at once
        return len(data[:5])

    def end_input(self) -> None:
        """One that sleeps for good goes on until a signal ends it."""
        with contextlib.suppress(SleepTooLong):
            self._end(self._run(self._stdin, lambda data, is_err: self._printed.append((data, is_err))))

    def send_signal(self, name: str) -> None:
        self.signals.append(name)
        self._end(128 + signal.Signals[f"SIG{name}"])

    def hang_up(self) -> None:
        self._end(129)

    def _end(self, code: int) -> None:
        if self.running:
            self.running, self._code = False, code
            self._writer.close()

    def exit_code(self) -> int:
        return self._code

    def close(self) -> None:
        self._reader.close()


def limits_of(restrictions: Restrictions) -> ContainerLimits:
    return ContainerLimits(restrictions.memory, round(restrictions.cpus * 1e9), restrictions.pids)


def base_files() -> Files:
    """What a small image has: a shell, and root."""
    files = Files()
    files.write("/bin/sh", "", 0o755)
    files.write("/etc/passwd", "root:x:0:0:root:/root:/bin/sh\n")
    for name in ("hosts", "resolv.conf", "hostname"):
        files.write(f"/etc/{name}", "the engine's\n")
    files.write("/etc/group", "root:x:0:\n")
    return files


def _give(files: Files, folder: str, uid: int, gid: int) -> None:
    """What the script of that name does."""
    top = files.nodes[folder]
    for path, node in list(files.nodes.items()):
        if path == folder or path.startswith(f"{folder}/"):
            owner = uid if node.uid == top.uid else node.uid
            files.nodes[path] = dataclasses.replace(node, uid=owner, gid=gid if node.gid == top.gid else node.gid)


def _collect(files: Files, uid: int, at: str, kept: str, path: str, *, output: Callable[[bytes, bool], None]) -> int:
    """What the script of that name does."""
    node = files.find(at, last=False)
    problems = {
        "it is a link, which is not followed": node and node.kind == "link" and node.target != kept,
        f"it is a folder, which {path}/ would keep": node and node.kind == "dir",
        "it belongs to another user": node and node.kind == "file" and node.uid != uid,
    }
    if problem := next((text for text, is_so in problems.items() if is_so), ""):
        output(f"{problem}\n".encode(), False)
        return 1
    if node and node.kind == "file":
        files.nodes[kept] = node
    if files.find(kept):
        files.nodes[files.resolve(at, last=False)] = Node("link", 0o777, uid, uid, target=kept)
    return 0


def _known(command: Command) -> bool:
    """Whether the container's passwd has the user."""
    return _uid(command) is not None


def _uid(command: Command) -> int | None:
    if command.user.partition(":")[0].isdigit():
        return int(command.user.partition(":")[0])
    passwd = command.container.files.find("/etc/passwd")
    for row in (passwd.content if passwd else b"").decode().splitlines():
        name, _, uid = row.split(":")[:3]
        if name == command.user:
            return int(uid)
    return None


def _copy(context: Files, files: Files, source: str, dest: str) -> None:
    """A file, or a folder with all in it."""
    place = f"/{source}".rstrip("/.") or "/"
    node = context.find(place)
    if node is None:
        raise EngineError("docker build ended with exit code 1")
    files.add(dest.rstrip("/"), node)
    prefix = f"{place.rstrip('/')}/"
    for path, one in context.nodes.items():
        if path.startswith(prefix) and path != "/":
            files.add(f"{dest.rstrip('/')}/{path.removeprefix(prefix)}", one)


def _apply(image: FakeImage, change: str) -> None:
    """One Dockerfile instruction on the config of an image."""
    word, _, value = change.partition(" ")
    config = image.config
    if word == "ENTRYPOINT":
        image.config = replace(config, entrypoint=tuple(json.loads(value)))
    elif word == "CMD":
        image.config = replace(config, command=tuple(json.loads(value)))
    elif word == "USER":
        image.config = replace(config, user=_plain(value))
    elif word == "WORKDIR":
        image.config = replace(config, workdir=_plain(value))
    elif word == "LABEL":
        name, _, text = value.partition("=")
        image.labels = {**image.labels, name: _plain(text)}
    elif word == "ENV":
        name, _, text = value.partition("=")
        image.config = replace(config, env={**config.env, name: _plain(text)})
    elif word != "EXPOSE":  # which says something to people only
        raise EngineError(f"unknown instruction: {word}")


def _plain(value: str) -> str:
    """What an instruction's value means: a backslash takes the next sign literally, quotes go."""
    value = value.strip()
    if value[:1] == value[-1:] == '"':
        value = value[1:-1]
    return re.sub(r"\\(.)", r"\1", value)
