"""The images, containers, mounts, volumes and files of an engine, as data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Self

from msgspec import Struct, field

from phases.core.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from phases.core.engine.confinement.restrictions import ContainerLimits
    from phases.core.port import Port


#: The PATH of the program's own commands in a container: folders that belong to the image's distribution.
SYSTEM_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


class PortRefused(EngineError):
    """The host does not publish a port of a container.

    Args:
        message: The host's reason.
        port: The port as the container was to have it.
        taken: Whether another program or container uses the port.
    """

    def __init__(self, message: str, port: Port, *, taken: bool) -> None:
        super().__init__(message)
        self.port = port
        self.taken = taken


class Image(Struct, frozen=True):
    """An image in the list of images. tags: `repository:tag`, none for an untagged image."""

    id: str
    tags: tuple[str, ...]
    labels: Mapping[str, str]


class ImageSize(Struct, frozen=True):
    """The size of an image.

    Attributes:
        id: Its id.
        parent: The image that it was made from, "" where the engine doesn't know.
        size: The bytes of all its layers.
        created: When it was made, None if the image hides that.
    """

    id: str
    parent: str
    size: int
    created: datetime | None


class Layer(Struct, frozen=True):
    """A layer of an image. id: the same in two images that share it and all layers below it; size: bytes."""

    id: str
    size: int


class ImageConfig(Struct, frozen=True):
    """The config that an image hands down to its containers.

    Attributes:
        id: The image's id.
        env: The environment, name to value.
        entrypoint: The entrypoint.
        command: The command.
        user: The user of the command, "" for root.
        workdir: The folder of the command.
        comment: The comment of the commit that made it.
        size: The bytes of all its layers.
        volumes: Folders whose content a commit leaves out.
        platform: The platform of its programs, like linux/amd64.
        labels: The labels.
        shell: The shell of a RUN, empty for `/bin/sh -c`.
        on_build: The instructions of ONBUILD, which `docker build` runs behind a FROM.
        layers: How many layers it has.
    """

    id: str
    env: Mapping[str, str] = field(default_factory=dict)
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    user: str = ""
    workdir: str = ""
    comment: str = ""
    size: int = 0
    volumes: tuple[str, ...] = ()
    platform: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    shell: tuple[str, ...] = ()
    on_build: tuple[str, ...] = ()
    layers: int = 0


class Container(Struct, frozen=True):
    """A container.

    Attributes:
        id, name: Its id, and its name without the slash.
        image: The id of its image.
        running: Whether it runs.
        labels: Its labels.
        command: Its command. The list of containers has none.
        binds: Its bind mounts. The list of containers has none.
        since: When it was started, or when it ended if it doesn't run. The list of containers has none.
        ports: The ports that are published now.
        out_of_memory: Whether it ended, and a process was killed at its memory limit. The list of containers has none.
        limits: Its limits, None if they never change. The list of containers has none.
        volumes: Its volumes, those of the image's VOLUMEs too. The list of containers has none.
    """

    id: str
    name: str
    image: str
    running: bool
    labels: Mapping[str, str] = field(default_factory=dict)
    command: tuple[str, ...] = ()
    binds: tuple[Bind, ...] = ()
    since: datetime | None = None
    ports: tuple[Port, ...] = ()
    out_of_memory: bool = False
    limits: ContainerLimits | None = None
    volumes: tuple[VolumeMount, ...] = ()


class Bind(Struct, frozen=True):
    """A bind mount of the host's file or folder `source` at `dest`. Both paths are absolute."""

    source: str
    dest: str
    readonly: bool


class Tmpfs(Struct, frozen=True):
    """A folder in memory. It is lost when the container stops, and no commit has it.

    options: As for mount(8). By default every user may enter it and open a file whose name he knows, of 64 MB in all.
    """

    dest: str
    options: str = "mode=0711,size=64m"


class VolumeMount(Struct, frozen=True):
    """A mount of a named volume.

    Attributes:
        volume: The name of the volume, which is created if it doesn't exist.
        dest: The path in the container.
        labels: The labels that a created volume gets.
        copies: Whether an empty volume is filled with the files that the image has at `dest`.
    """

    volume: str
    dest: str
    labels: Mapping[str, str] = field(default_factory=dict)
    copies: bool = True


class Volume(Struct, frozen=True):
    """A named volume. made: the time of its creation, as the engine writes it."""

    name: str
    labels: Mapping[str, str]
    made: str = ""


#: The bytes that `read_file` reads at most: far more than any passwd has.
LARGEST_FILE = 16 << 20


class Stat(Struct, frozen=True):
    """A path in a container.

    Attributes:
        is_dir: Whether it is a folder.
        mode: The permission bits.
        link: The target of a symbolic link, absolute.
        edition: A text that changes with a file's content, "" where the engine doesn't know.
    """

    is_dir: bool
    mode: int
    link: str = ""
    edition: str = ""


class PathInfo(Struct, frozen=True):
    """A path in a container, with its owner. A link at its end is not followed.

    Attributes:
        kind: The kind of file.
        mode: The permission bits.
        uid: The owner.
        gid: The group.
        target: The target of a link, as it is written.
        content: The content of a file, if it was asked for.
    """

    kind: Literal["file", "dir", "link", "other"]
    mode: int
    uid: int
    gid: int
    target: str = ""
    content: bytes = b""


class Change(Struct, frozen=True):
    """A path that differs between a container and its image. A folder is `changed` if its content is."""

    path: str
    kind: Literal["added", "changed", "deleted"]


class Confided(str):
    """A value of a command's environment that the engine must not store.

    Attributes:
        path: A file in the container that has the value too.
    """

    __slots__ = ("path",)
    path: str

    def __new__(cls, value: str, path: str) -> Self:
        instance = super().__new__(cls, value)
        instance.path = path
        return instance
