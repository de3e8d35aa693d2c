"""What the program asks of a Docker-compatible engine, as a protocol.

Two things stand behind it: `docker_engine.DockerEngine`, and the fake of the unit tests. One
contract suite runs on both. Every method raises EngineError or one of its kinds, nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol, Self

from msgspec import Struct, field

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime
    from typing import IO

    from phases.core.engine.patience import Patience
    from phases.core.masking import Mask
    from phases.core.model import Value
    from phases.core.port import Port

    #: Called with one line of output, without its newline.
    OnLine = Callable[[str], None]
    #: Called with lines of output, without their newlines.
    OnLines = Callable[[list[str]], None]
    #: Called with a layer's id, what happens to it, and bytes done and in all (0 where unknown).
    OnPull = Callable[[str, str, int, int], None]

#: The PATH of the program's own commands in a container: folders that belong to the image's distribution.
SYSTEM_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


class Image(Struct, frozen=True):
    """An image as the list query gives it. tags: `repository:tag`, none for an untagged one."""

    id: str
    tags: tuple[str, ...]
    labels: Mapping[str, str]


class ImageSize(Struct, frozen=True):
    """What an image takes. parent: the image it was made from, "" where the engine doesn't tell; size:
    bytes of all its layers; created: when whoever made it says it was, None where he doesn't.
    """

    id: str
    parent: str
    size: int
    created: datetime | None


class Layer(Struct, frozen=True):
    """id: the same in two images that share the layer, and all below it; size: bytes."""

    id: str
    size: int


class ImageConfig(Struct, frozen=True):
    """What an image gives its containers. env: name to value; comment: what its commit was given; size: bytes
    of all its layers; volumes: folders whose content is no part of what is committed; platform: what its
    programs are for, like linux/amd64; labels: which it hands down to its containers, as all of this.
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


class Container(Struct, frozen=True):
    """name: without the slash; image: the id it was made from; since: when it was started, or ended
    where it doesn't run, which the list query doesn't tell; ports: published now, while it runs.
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


class Bind(Struct, frozen=True):
    """A mount of the host's file or folder `source` at `dest`, both absolute."""

    source: str
    dest: str
    readonly: bool


class Tmpfs(Struct, frozen=True):
    """A folder that is in memory only, gone when the container stops, and in no commit."""

    dest: str


class Restrictions(Struct, frozen=True):
    """What holds a container in. privileges: whether its programs may gain some, as sudo does;
    network: whether it has any; memory: bytes; pids: processes and threads; 0 is no limit.
    """

    privileges: bool = True
    network: bool = True
    memory: int = 0
    cpus: float = 0
    pids: int = 0


UNCONFINED = Restrictions()


class VolumeMount(Struct, frozen=True):
    """A named volume of the engine's at `dest`, made with `labels` where there is none of the name. copies:
    whether an empty one gets what the image has there.
    """

    volume: str
    dest: str
    labels: Mapping[str, str] = field(default_factory=dict)
    copies: bool = True


class Volume(Struct, frozen=True):
    """A named volume. made: when, as the engine writes it."""

    name: str
    labels: Mapping[str, str]
    made: str = ""


#: Bytes of a file, or of what a link in its place leads to, that `get` takes: far above any passwd.
LARGEST_FILE = 16 << 20


class Stat(Struct, frozen=True):
    """A path in a container. mode: permission bits; link: where a symbolic link leads, absolute; edition: of a
    file's content, another with each change, "" where the engine doesn't tell.
    """

    is_dir: bool
    mode: int
    link: str = ""
    edition: str = ""


class PathInfo(Struct, frozen=True):
    """A path in a container, a link in its place not followed. mode: permission bits; uid, gid: who owns it; target:
    of a link, as it is written; content: of a file, where it was asked for.
    """

    kind: Literal["file", "dir", "link", "other"]
    mode: int
    uid: int
    gid: int
    target: str = ""
    content: bytes = b""


class Change(Struct, frozen=True):
    """A path that is otherwise in a container than in its image. A folder is `changed` when what it holds is."""

    path: str
    kind: Literal["added", "changed", "deleted"]


class Confided(str):
    """A value of a command's environment that no engine may keep. path: the file in the container that has it too."""

    __slots__ = ("path",)
    path: str

    def __new__(cls, value: str, path: str) -> Self:
        made = super().__new__(cls, value)
        made.path = path
        return made


class Exec(Protocol):
    """A command in a container with a terminal of its own, as a stream of bytes."""

    def fileno(self) -> int:
        """To wait for with select; readable at the end too."""

    def read(self) -> bytes:
        """What has arrived; b"" at the end."""

    def write(self, data: bytes) -> None: ...

    def resize(self, rows: int, columns: int) -> None: ...

    def exit_code(self) -> int:
        """Once the end was read."""

    def close(self) -> None: ...


class Piped(Protocol):
    """A command in a container whose input is streamed to it, and whose outputs come apart."""

    def fileno(self) -> int:
        """To wait for with select: readable when something has arrived, at the end too."""

    def read(self) -> list[tuple[bytes, bool]] | None:
        """What has arrived, and whether it is of stderr; None at the end."""

    def write(self, data: bytes) -> int:
        """Returns how many bytes it takes now; all of them when nobody will read them any more."""

    def end_input(self) -> None: ...

    def send_signal(self, name: str) -> None:
        """INT, TERM, HUP or KILL, for the command and what it has started; no error once it has ended."""

    def exit_code(self) -> int:
        """Once the end was read."""

    def close(self) -> None: ...


class Engine(Protocol):
    #: Where it is, as a person would write it.
    address: str
    #: How long it may be silent, and who is told when it is.
    patience: Patience

    def platform(self) -> str:
        """What programs it runs, like linux/amd64."""

    def images(self) -> list[Image]:
        """All images, intermediate ones of a build apart: one query."""

    def stored(self) -> list[ImageSize]:
        """What all images take, intermediate ones too: one query, which measures nothing."""

    def layers(self, image: str) -> list[Layer]:
        """Those of an image, the lowest first, empty ones too. Raises NotFound."""

    def image_config(self, reference: str) -> ImageConfig | None:
        """None when there is no such image."""

    def pull(self, reference: str, on_pull: OnPull) -> None: ...

    def build(self, context: IO[bytes], tag: str, on_line: OnLine, secrets: Sequence[Value] = ()) -> str:
        """Build the Dockerfile at the root of the tar `context`. secrets: for its
        `RUN --mount=type=secret,id=NAME`, masked in the output. Returns the id of the image, which
        has `tag` from the first; raises EngineError when the build fails.
        """

    def tag(self, image: str, reference: str) -> None: ...

    def untag(self, reference: str) -> None:
        """Take a tag away, and its image with the last one, unless something rests on it or uses it."""

    def remove_image(self, image: str) -> bool:
        """Remove an image, unless it has a tag, or something rests on it or uses it: then False."""

    def create(  # noqa: PLR0913 (each is another side of a container)
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
    ) -> str:
        """A container of root's, not started; the image's entrypoint is set aside. ports: to be published
        while it runs, and no other, whatever the image exposes; log_bytes: how much is kept of what its main process
        prints, where the engine has a say in that; 0 is all. Returns its id.
        """

    def start(self, container: str) -> None:
        """Raises PortRefused for the first of its ports that the host doesn't give."""

    def stop(self, container: str, grace: int = 10) -> None:
        """grace: seconds until it is killed."""

    def remove(self, container: str, *, sent: Callable[[], None] = ...) -> None:
        """Kill it if it runs; its anonymous volumes go with it. No error if it isn't there. sent: called once the
        engine is sure to do so, whether or not anybody waits; never, where that is known only by waiting.
        """

    def rename(self, container: str, name: str) -> None: ...

    def container(self, name: str) -> Container | None: ...

    def containers(self, *, label: str = "", name_prefix: str = "", volume: str = "") -> list[Container]:
        """Running or not, those with the label (`key` or `key=value`), the prefix and the named volume."""

    def commit(self, container: str, changes: Sequence[str], comment: str = "", *, pause: bool = True) -> str:
        """changes: Dockerfile instructions for the image's config; pause: what runs in it stands still
        meanwhile. Returns the id of an image without a tag.

        Where neither ENTRYPOINT nor CMD names anything, the container's command stays.
        """

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
        """Run a command to its end. stdin: what it can read before it prints anything; no end of
        file comes after it. on_output: gets chunks, and whether they are of stderr.

        Returns its exit code; 126 or 127 where there is no such user, folder or program. timeout:
        seconds, after which the container is killed and PhaseTimeout raised.
        """

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
        """Run a command in a terminal. size: the rows and columns that it finds there."""

    def exec_piped(
        self, container: str, argv: Sequence[str], *, user: str, workdir: str, env: Mapping[str, str]
    ) -> Piped:
        """Run a command with an input. Its exit code is as that of `execute`."""

    def running_execs(self, container: str) -> int:
        """How many commands of any `execute` still run in it, whoever started them."""

    def put_archive(self, container: str, folder: str, archive: IO[bytes]) -> None:
        """Unpack a tar in an existing folder of the container, started or not.

        A folder never takes the place of a file, nor a file that of a folder: EngineError.
        """

    def read_file(self, container: str, path: str) -> bytes | None:
        """The content of a file, links followed; None where there is none. EngineError where it has more
        than LARGEST_FILE bytes: whoever wrote it is not to fill our memory.
        """

    def stat(self, container: str, path: str) -> Stat | None:
        """One path, the last component not followed if it is a link."""

    def path_info(self, container: str, path: str, *, content: bool = False) -> PathInfo | None:
        """One path with its owner, the last component not followed if it is a link, those above it followed. Costs
        as much as `get`. None where there is nothing; EngineError for a file of more than LARGEST_FILE bytes.
        """

    def pause(self, container: str) -> None:
        """Have all that runs in it stand still. No error where it does already."""

    def unpause(self, container: str) -> None: ...

    def changes(self, container: str) -> list[Change]:
        """What is otherwise than in its image, by path; nothing of what is mounted."""

    def logs(self, container: str, lines: int) -> list[str]:
        """The last lines of what its main process printed."""

    def output(self, container: str, on_output: Callable[[bytes], None], *, follow: bool = False) -> None:
        """All that its main process printed. follow: and what it prints, until it ends."""

    def volumes(self, *, label: str = "") -> list[Volume]:
        """By name, those with the label (`key` or `key=value`)."""

    def create_volume(self, name: str, labels: Mapping[str, str]) -> Volume:
        """A named volume, there for whoever looks once this is through. Returns it as the engine has it."""

    def remove_volume(self, name: str) -> None:
        """With all that is in it. No error if it isn't there; Conflict while a container has it."""


# Bytes after which a line is cut: what never ends one is not for reading.
_LONGEST = 65536


class BlockSplitter:
    """Cuts a stream of bytes into lines, and gives `on_lines` all that a chunk has ended. A carriage return ends a line
    too, since progress bars are lines that repeat. mask: hides what is secret before it is cut.

    One call for many lines, and no expression to find them: a command may print a million lines a second.
    """

    def __init__(self, on_lines: OnLines, mask: Mask | None = None) -> None:
        self._on_lines = on_lines
        self._mask = mask
        self._rest: list[bytes] = []
        self._length = 0
        self._ended_by_return = False

    def feed(self, data: bytes) -> None:
        self._cut(self._mask.feed(data) if self._mask else data)

    def _cut(self, data: bytes) -> None:
        if not data:
            return
        if data.startswith(b"\n") and self._ended_by_return:
            data = data[1:]
        self._ended_by_return = data.endswith(b"\r")
        ended, end, rest = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").rpartition(b"\n")
        if end:
            self._rest.append(ended)
            self._end()
        self._rest.append(rest)
        self._length += len(rest)
        if self._length > _LONGEST:
            self._end()

    def _end(self) -> None:
        lines = b"".join(self._rest).decode(errors="replace").split("\n")
        self._rest, self._length = [], 0
        self._on_lines(lines)

    def close(self) -> None:
        if self._mask:
            self._cut(self._mask.flush())
        if self._length:
            self._end()


class LineSplitter(BlockSplitter):
    """The same, for what takes one line at a time."""

    def __init__(self, on_line: OnLine, mask: Mask | None = None) -> None:
        def each(lines: Sequence[str]) -> None:
            for line in lines:
                on_line(line)

        super().__init__(each, mask)
