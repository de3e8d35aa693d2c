"""The protocol of a Docker-compatible engine, as the program uses it.

`docker_api.client.DockerEngine`, `podman_api.client.Podman` and the fake engine of the unit tests implement it. One
contract suite runs on all of them. Every method raises EngineError or a subclass, and nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from phases.core.engine.carrying.protocol import Carrying
from phases.core.engine.confinement.restrictions import UNCONFINED

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import IO

    from phases.core.engine.confinement.restrictions import Restrictions
    from phases.core.engine.output import OnLine
    from phases.core.engine.timeouts import ResponseTimeout
    from phases.core.engine.types import (
        Bind,
        Change,
        Container,
        Image,
        ImageConfig,
        ImageSize,
        Layer,
        PathInfo,
        Stat,
        Tmpfs,
        Volume,
        VolumeMount,
    )
    from phases.core.files.tar import DockerfileArchive
    from phases.core.model import Value
    from phases.core.port import Port

    #: Called with a layer's id, what happens to it, and bytes done and in all (0 where unknown).
    OnPull = Callable[[str, str, int, int], None]


class Exec(Protocol):
    """A command in a container with a terminal of its own, as a stream of bytes."""

    def fileno(self) -> int:
        """Return the descriptor to wait for with select. At the end it is readable too."""

    def read(self) -> bytes | None:
        """Return what has arrived, b"" if that isn't for the terminal, None at the end."""

    @property
    def is_suspended(self) -> bool:
        """Return whether the command was suspended, by Ctrl-Z or by itself."""

    def resume(self) -> None:
        """Continue the command after it was suspended."""

    def write(self, data: bytes) -> None: ...

    def resize(self, rows: int, columns: int) -> None: ...

    def exit_code(self) -> int:
        """Return the exit code. Call this once the output was read to its end."""

    def close(self) -> None: ...


class Piped(Protocol):
    """A command in a container with a streamed input and two separate outputs."""

    def fileno(self) -> int:
        """Return the descriptor to wait for with select: readable when something has arrived, and at the end."""

    def read(self) -> list[tuple[bytes, bool]] | None:
        """Return what has arrived, and whether each chunk is of stderr; None at the end."""

    def write(self, data: bytes) -> int:
        """Send what fits now. Return how many bytes that is: all of them if the command no longer reads its input."""

    def end_input(self) -> None: ...

    def send_signal(self, name: str) -> None:
        """Send INT, TERM, HUP or KILL to the command and its children. It is no error if it has ended."""

    def exit_code(self) -> int:
        """Return the exit code. Call this once the output was read to its end."""

    def close(self) -> None: ...


class Engine(Carrying, Protocol):
    """A Docker-compatible engine.

    Attributes:
        address: Where it is, as a person would write it.
        timeout: How long it may be silent, and who is told when it is.
        proxies: Variables for each command in a container, as docker's config.json has them for this engine.
        max_layers: How many layers an image may have.
    """

    address: str
    timeout: ResponseTimeout
    max_layers: int

    @property
    def proxies(self) -> Mapping[str, str]: ...

    def platform(self) -> str:
        """Return the platform of the programs that it runs, like linux/amd64."""

    def images(self) -> list[Image]:
        """Return all images but the intermediate ones of builds, with one request."""

    def stored(self) -> list[ImageSize]:
        """Return the sizes of all images, intermediate ones too, with one request that measures nothing."""

    def layers(self, image: str) -> list[Layer]:
        """Return the layers of an image, the lowest first, empty ones too. Raise NotFound if there is no such image."""

    def image_config(self, reference: str) -> ImageConfig | None:
        """Return the config of an image, None if there is no such image."""

    def pull(self, reference: str, on_pull: OnPull) -> None: ...

    def build(self, context: DockerfileArchive, tag: str, on_line: OnLine, secrets: Sequence[Value] = ()) -> str:
        """Build a Dockerfile. Returns the id of the image.

        Args:
            context: The Dockerfile and its build context.
            tag: The tag, which the image has from the first.
            on_line: Gets the output, with secrets masked.
            secrets: Values for `RUN --mount=type=secret,id=NAME`.
        """

    def tag(self, image: str, reference: str) -> None: ...

    def untag(self, reference: str) -> None:
        """Remove a tag. With its last tag an image is removed, unless another image or a container needs it."""

    def remove_image(self, image: str) -> bool:
        """Remove an image. Return False if it stays: it has a tag, or another image or a container needs it."""

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
        stop_signal: str = "",
        user: str = "",
    ) -> str:
        """Create a container without the image's entrypoint. It is not started.

        Args:
            image: Its image.
            name: Its name.
            command: Its command.
            env: Variables to add to the image's environment.
            labels: Its labels.
            mounts: Its mounts.
            hostname: Its host name, "" for one that the engine chooses.
            restrictions: What its programs may do and use.
            ports: The only ports that are published while it runs, whatever the image exposes.
            log_bytes: How many bytes of its main process's output are kept, if the engine can limit that; 0 is all.
            stop_signal: The signal that asks its main process to end, "" for that of the image.
            user: The user of its main process, "" for root.

        Returns:
            Its id.
        """

    def start(self, container: str) -> None:
        """Start a container. Raise PortRefused for the first of its ports that the host refuses."""

    def stop(self, container: str, grace: int = 10) -> None:
        """Stop a container. grace: seconds until it is killed."""

    def remove(self, container: str, *, on_sent: Callable[[], None] = ...) -> None:
        """Remove a container and its anonymous volumes, even if it runs. It is no error if it doesn't exist.

        Args:
            container: Its name or id.
            on_sent: Is called once the engine will remove it even if this process ends at once. Where that can't be
                known before the answer, it is never called.
        """

    def rename(self, container: str, name: str) -> None: ...

    def container(self, name: str) -> Container | None: ...

    def containers(self, *, label: str = "", name_prefix: str = "", volume: str = "") -> list[Container]:
        """Return the containers that match all given filters, running or not. label: `key` or `key=value`."""

    def commit(self, container: str, changes: Sequence[str], comment: str = "", *, pause: bool = True) -> str:
        """Commit a container.

        Args:
            container: Its name or id.
            changes: Dockerfile instructions for the image's config. If no ENTRYPOINT and no CMD among them names a
                program, the image gets the container's command.
            comment: The comment of the image.
            pause: Whether its processes are paused meanwhile.

        Returns:
            The id of the image, which has no tag.
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
        """Run a command to its end.

        Args:
            container: Its name or id.
            argv: The command.
            user: The user, "" for root.
            workdir: The folder, "" for the container's.
            env: Variables to add to the container's environment.
            stdin: What the command can read before it prints anything. No end of file follows.
            on_output: Gets chunks, and whether each is of stderr.
            timeout: Seconds after which the container is killed.

        Returns:
            Its exit code; 126 or 127 if there is no such user, folder or program.

        Raises:
            PhaseTimeout: It took longer than `timeout`.
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
        """Run a command with an input. It has the same exit codes as `exec`."""

    def running_execs(self, container: str) -> int:
        """Return how many commands started by `exec` and the like still run, whichever process started them."""

    def put_archive(self, container: str, folder: str, archive: IO[bytes]) -> None:
        """Unpack a tar in an existing folder of the container, started or not.

        Raises EngineError if a folder would replace a file, or a file a folder.
        """

    def read_file(self, container: str, path: str) -> bytes | None:
        """Return the content of a file, with links followed; None if there is none.

        Raises:
            EngineError: It has more than LARGEST_FILE bytes. A container must not fill the memory of this machine.
        """

    def stat(self, container: str, path: str) -> Stat | None:
        """Describe a path, None if it doesn't exist. A link at its end is not followed."""

    def path_info(self, container: str, path: str, *, content: bool = False) -> PathInfo | None:
        """Describe a path as `stat` does, with its owner. Takes as long, and raises the same, as `read_file`."""

    def pause(self, container: str) -> None:
        """Pause all processes of a container. It is no error if they are paused."""

    def unpause(self, container: str) -> None: ...

    def changes(self, container: str) -> list[Change]:
        """Return the differences between a container and its image, sorted by path, without those in mounts."""

    def logs(self, container: str, lines: int) -> list[str]:
        """Return the last lines that a container's main process printed."""

    def output(self, container: str, on_output: Callable[[bytes], None], *, follow: bool = False) -> None:
        """Read all that a container's main process printed. follow: continue until the process ends."""

    def volumes(self, *, label: str = "") -> list[Volume]:
        """Return the volumes with a label, sorted by name. label: `key` or `key=value`."""

    def create_volume(self, name: str, labels: Mapping[str, str]) -> Volume:
        """Create a named volume, which every list has once this returns. Return it as the engine describes it."""

    def remove_volume(self, name: str) -> None:
        """Remove a volume. It is no error if it doesn't exist. Raise Conflict if a container has it."""
