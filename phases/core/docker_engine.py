"""The one adapter to the `docker` package: the engine protocol over Docker's API.

The vendor's exceptions become ours here, and nowhere else.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import tarfile
import threading
import time
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, cast

import docker
import docker.errors
import requests
import urllib3.connection
import urllib3.connectionpool
from docker.context import ContextAPI
from docker.utils import decode_json_header, parse_repository_tag

from phases.core import answers, docker_command
from phases.core.connections import Answer, Connections
from phases.core.engine import (
    LARGEST_FILE,
    UNCONFINED,
    Bind,
    Change,
    Confinement,
    Container,
    Exec,
    Image,
    ImageConfig,
    Layer,
    Piped,
    Stat,
    Stored,
    Tmpfs,
    Volume,
    VolumeMount,
)
from phases.core.errors import (
    Conflict,
    EngineError,
    EngineUnreachable,
    NotFound,
    PhaseTimeout,
    PortRefused,
    full_disk_remedy,
)
from phases.core.execs import OPENING, PipedExec, TtyExec, attached, received
from phases.core.frames import Frames

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from docker.api import APIClient

    from phases.core.engine import OnLine, OnPull
    from phases.core.port import Port
    from phases.core.secrets import Value

# Seconds the engine may take to answer a request. Commits of gigabytes take a while.
_PATIENCE = 600

# Seconds it may take to say that it is there.
_GREETING = 10

# Everybody may pass through, and find what he knows the name of.
_TMPFS = "mode=0711,size=64m"

# The engine sets a terminal's size only once its command runs, too late for what that draws first.
_SIZED = 'stty rows "$1" cols "$2" 2>/dev/null; shift 2; exec "$@"'


def connect() -> DockerEngine:
    """The engine of DOCKER_HOST, else of the current docker context, else of the default socket.

    Raises EngineUnreachable when none answers there.
    """
    host = os.environ.get("DOCKER_HOST", "")
    shown = host or "the default socket"
    try:
        if host:
            client = docker.from_env(timeout=_GREETING)
        else:
            context = ContextAPI.get_current_context()
            shown = str(context.Host) if context and context.Host else shown
            tls = context.TLSConfig if context else None
            client = docker.DockerClient(
                base_url=context.Host if context else None, tls=tls or False, timeout=_GREETING
            )
        client.ping()
    except (docker.errors.DockerException, requests.RequestException, OSError) as error:
        raise EngineUnreachable(
            f"no Docker engine answers at {shown}",
            remedy="start it (script/bootstrap does on Debian and Ubuntu), or set DOCKER_HOST",
        ) from error
    client.api.timeout = _PATIENCE
    return DockerEngine(client.api, shown)


# The one way there is to tell all the pools, and their connections, that docker-py makes.
cast("Any", urllib3.connectionpool.ConnectionPool).QueueCls = Connections
urllib3.connection.HTTPConnection.response_class = Answer


@contextmanager
def _translated(what: str) -> Iterator[None]:
    """Turn the vendor's exceptions into ours; `what` was being done."""
    try:
        yield
    except docker.errors.NotFound as error:
        raise NotFound(f"{what}: {_explanation(error)}") from error
    except docker.errors.APIError as error:
        kind = Conflict if error.status_code == 409 else EngineError
        text = _explanation(error)
        raise kind(f"{what}: {text}", remedy=full_disk_remedy(text)) from error
    except docker.errors.DockerException as error:
        raise EngineError(f"{what}: {error}") from error
    except (requests.RequestException, ConnectionError) as error:
        raise EngineUnreachable(
            f"{what}: the engine stopped answering", remedy="see that it runs, then do the same again"
        ) from error


def _explanation(error: docker.errors.APIError) -> str:
    return str(error.explanation or error).strip().rstrip(".")


class DockerEngine:
    """The engine protocol, spoken to a real engine."""

    def __init__(self, api: APIClient, address: str) -> None:
        self._api = api
        self.address = address

    # Images

    def images(self) -> list[Image]:
        with _translated("listing images"):
            return answers.images(self._api.images())

    def stored(self) -> list[Stored]:
        with _translated("listing images"):
            return answers.stored(self._api.images(all=True))

    def layers(self, image: str) -> list[Layer]:
        with _translated(f"looking at image {image[:19]}"):
            return answers.layers(cast("Any", self._api).history(image))

    def image_config(self, reference: str) -> ImageConfig | None:
        try:
            with _translated(f"looking at image {reference}"):
                return answers.image_config(cast("Any", self._api).inspect_image(reference))
        except NotFound:
            return None

    def pull(self, reference: str, on_pull: OnPull) -> None:
        repository, tag = parse_repository_tag(reference)
        what = f"pulling {reference}"
        with _translated(what):
            for event in self._api.pull(repository, tag or "latest", stream=True, decode=True):
                if "error" in event:
                    raise EngineError(f"{what}: {event['error']}")
                detail = event.get("progressDetail") or {}
                on_pull(
                    event.get("id", ""), event.get("status", ""), detail.get("current") or 0, detail.get("total") or 0
                )

    def build(self, context: IO[bytes], tag: str, on_line: OnLine, secrets: Sequence[Value] = ()) -> str:
        command = docker_command.find()
        if secrets and not (command and command.buildkit):
            raise EngineError("a Dockerfile is given secrets by BuildKit, and there is no `docker` here that has it")
        if command:
            try:
                return docker_command.build(command, context, tag, on_line, secrets)
            except EngineError:
                with _translated("building the Dockerfile"):
                    self._api.ping()  # else it is not the Dockerfile that is to be mended
                raise
        return self._build_by_api(context, tag, on_line)

    def _build_by_api(self, context: IO[bytes], tag: str, on_line: OnLine) -> str:
        image = ""
        with _translated("building the Dockerfile"):
            for event in self._api.build(
                fileobj=context, custom_context=True, tag=tag, rm=True, forcerm=True, decode=True
            ):
                if "error" in event:
                    raise EngineError(f"building the Dockerfile: {event['error'].strip()}")
                for line in event.get("stream", "").splitlines():
                    on_line(line)
                image = (event.get("aux") or {}).get("ID", image)
        return image

    def tag(self, image: str, reference: str) -> None:
        repository, _, tag = reference.rpartition(":")
        with _translated(f"tagging {reference}"):
            self._api.tag(image, repository, tag, force=True)

    def untag(self, reference: str) -> None:
        try:
            with _translated(f"removing {reference}"):
                self._api.remove_image(reference)
        except NotFound:
            return
        except Conflict:
            # A container uses the image. The engine can't take the last tag of such an image away,
            # but the tag can move to an empty image, and go with that.
            repository, _, tag = reference.rpartition(":")
            with _translated(f"removing {reference}"):
                self._api.import_image_from_data(_empty_tar(), repository=repository, tag=tag)
                self._api.remove_image(reference)

    def remove_image(self, image: str) -> bool:
        try:
            with _translated(f"removing image {image[:19]}"):
                # By its id the engine would remove an image with one tag as well, and with it the tag.
                if cast("Any", self._api).inspect_image(image).get("RepoTags"):
                    return False
                self._api.remove_image(image)
        except NotFound:
            return True
        except Conflict:
            return False
        return True

    # Containers

    def create(  # noqa: PLR0913 (as the protocol says)
        self,
        image: str,
        name: str,
        command: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
        mounts: Sequence[Bind | Tmpfs | VolumeMount] = (),
        hostname: str = "",
        confinement: Confinement = UNCONFINED,
        ports: Sequence[Port] = (),
    ) -> str:
        mounted = [_mount(mount) for mount in mounts if not isinstance(mount, Tmpfs)]
        with _translated(f"creating container {name}"):
            made = self._api.create_container(
                image,
                list(command),
                name=name,
                user="0",
                entrypoint=[],
                environment=dict(env or {}),
                labels=dict(labels or {}),
                hostname=hostname or None,
                ports=[(port.inside, port.protocol) for port in ports],
                host_config=self._api.create_host_config(
                    mounts=mounted,
                    tmpfs={mount.dest: _TMPFS for mount in mounts if isinstance(mount, Tmpfs)},
                    network_mode=None if confinement.network else "none",
                    security_opt=None if confinement.privileges else ["no-new-privileges"],
                    mem_limit=confinement.memory or None,
                    nano_cpus=round(confinement.cpus * 1e9) or None,
                    pids_limit=confinement.pids or None,
                    port_bindings=_bindings(ports),
                ),
            )
        return str(made["Id"])

    def start(self, container: str) -> None:
        try:
            with _translated("starting the container"):
                self._api.start(container)
        except EngineError as error:
            if port := self._port_in(error.message, container):
                reason = error.message.rpartition(": ")[2]
                raise PortRefused(reason, port, taken="already" in reason) from error
            raise

    def _port_in(self, message: str, container: str) -> Port | None:
        """Which of the container's ports a message is about, by its address there."""
        try:
            wanted = self._api.inspect_container(container)["HostConfig"].get("PortBindings")
        except (docker.errors.APIError, requests.RequestException):
            return None
        for port in answers.published(wanted):
            if re.search(rf"(?<![\w.:])({re.escape(port.address)}|{re.escape(f'{port.ip}:{port.host}')})\b", message):
                return port
        return None

    def stop(self, container: str, grace: int = 10) -> None:
        with contextlib.suppress(NotFound), _translated("stopping the container"):
            self._api.stop(container, timeout=grace)

    def remove(self, container: str) -> None:
        try:
            with contextlib.suppress(NotFound), _translated("removing the container"):
                self._api.remove_container(container, force=True, v=True)
        except Conflict:
            # Somebody else is removing it: done once it isn't there.
            for _ in range(100):
                if self.container(container) is None:
                    return
                time.sleep(0.1)
            raise

    def rename(self, container: str, name: str) -> None:
        with _translated(f"renaming a container to {name}"):
            self._api.rename(container, name)

    def container(self, name: str) -> Container | None:
        try:
            with _translated(f"looking at container {name}"):
                return answers.container(self._api.inspect_container(name))
        except NotFound:
            return None

    def containers(self, *, label: str = "", name_prefix: str = "", volume: str = "") -> list[Container]:
        filters = {key: value for key, value in (("label", label), ("volume", volume)) if value}
        with _translated("listing containers"):
            rows = self._api.containers(all=True, filters=filters or None)
        return [container for container in answers.containers(rows) if container.name.startswith(name_prefix)]

    def commit(self, container: str, changes: Sequence[str], comment: str = "", *, pause: bool = True) -> str:
        with _translated("committing the snapshot"):
            return str(self._api.commit(container, changes=list(changes), message=comment, pause=pause)["Id"])

    # Inside a container

    def execute(
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
        expired = threading.Event()

        def kill() -> None:
            expired.set()
            with contextlib.suppress(docker.errors.APIError, requests.RequestException):
                self._api.kill(container)

        # The API can't end an exec, but it ends with its container.
        watchdog = threading.Timer(timeout, kill) if timeout is not None else None
        with _translated("running a command"):
            exec_id = self._exec(container, argv, user=user, workdir=workdir, env=env, stdin=bool(stdin))
            if watchdog:
                watchdog.start()
            try:
                with attached(self._api.exec_start(exec_id, socket=True)) as stream:
                    stream.sendall(stdin)
                    frames = Frames()
                    while chunk := received(stream):
                        for data, is_err in frames.feed(chunk):
                            if on_output:
                                on_output(data, is_err)
            finally:
                if watchdog:
                    watchdog.cancel()
            if expired.is_set():
                raise PhaseTimeout("timed out")
            return self.exit_code(exec_id)

    def _exec(
        self,
        container: str,
        argv: Sequence[str],
        *,
        user: str = "",
        workdir: str = "",
        env: Mapping[str, str] | None = None,
        stdin: bool = False,
        tty: bool = False,
    ) -> str:
        """A command that is to be started. Returns its id."""
        made = self._api.exec_create(
            container,
            list(argv),
            user=user or "0",
            workdir=workdir or None,
            environment=dict(env or {}),
            stdin=stdin,
            tty=tty,
        )
        return str(made["Id"])

    def send_off(self, container: str, argv: Sequence[str]) -> str:
        """Have root run a command, without waiting for its end. Returns its id.

        The engine tells of that only after all that ended before it in the container was read to the
        end, which it never is by one who waits here.
        """
        with _translated("running a command"):
            exec_id = self._exec(container, argv, workdir="/")
            self._api.exec_start(exec_id, detach=True)
        return exec_id

    def is_running(self, exec_id: str) -> bool:
        with _translated("running a command"):
            return bool(self._api.exec_inspect(exec_id)["Running"])

    def exit_code(self, exec_id: str) -> int:
        with _translated("running a command"):
            code = self._api.exec_inspect(exec_id).get("ExitCode")
        # None: the container ended under the command.
        return 137 if code is None else int(code)

    def resize(self, exec_id: str, rows: int, columns: int) -> None:
        with _translated("sizing a terminal"):
            self._api.exec_resize(exec_id, height=rows, width=columns)

    def execute_tty(
        self,
        container: str,
        argv: Sequence[str],
        *,
        user: str,
        workdir: str,
        env: Mapping[str, str],
        size: tuple[int, int],
    ) -> Exec:
        rows, columns = size
        sized = ("/bin/sh", "-c", _SIZED, "sh", str(rows), str(columns), *argv)
        with _translated("running a command"):
            exec_id = self._exec(container, sized, user=user, workdir=workdir, env=env, tty=True, stdin=True)
            sock = self._api.exec_start(exec_id, tty=True, socket=True)
        return TtyExec(self, exec_id, sock)

    def execute_piped(
        self, container: str, argv: Sequence[str], *, user: str, workdir: str, env: Mapping[str, str]
    ) -> Piped:
        with _translated("running a command"):
            exec_id = self._exec(container, (*OPENING, *argv), user=user, workdir=workdir, env=env, stdin=True)
            sock = self._api.exec_start(exec_id, socket=True)
        return PipedExec(self, container, exec_id, sock)

    def running_execs(self, container: str) -> int:
        with _translated("looking at the container"):
            ids = self._api.inspect_container(container).get("ExecIDs") or ()
            running = 0
            for exec_id in ids:
                with contextlib.suppress(docker.errors.NotFound):
                    running += bool(self._api.exec_inspect(exec_id)["Running"])
            return running

    def put(self, container: str, folder: str, archive: IO[bytes]) -> None:
        api: Any = self._api
        url = api._url("/containers/{0}/archive", container)  # noqa: SLF001 (docker-py has no such parameter)
        params = {"path": folder, "noOverwriteDirNonDir": "true"}
        with _translated(f"copying into {folder}"):
            api._raise_for_status(api.put(url, params=params, data=archive, timeout=_PATIENCE))  # noqa: SLF001

    def get(self, container: str, path: str) -> bytes | None:
        try:
            with _translated(f"reading {path!a}"):
                chunks, stat = self._api.get_archive(container, cast("str", os.fsencode(path)))
                data = _whole(chunks, path)
        except EngineError as error:
            if _nothing_there(error):
                return None
            raise
        if link := stat.get("linkTarget"):
            return self.get(container, link)
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            member = tar.next()
            file = tar.extractfile(member) if member else None
            return file.read() if file else None

    def stat(self, container: str, path: str) -> Stat | None:
        api: Any = self._api
        url = api._url("/containers/{0}/archive", container)  # noqa: SLF001 (docker-py has no call for HEAD)
        with _translated(f"looking at {path!a}"):
            answer = api.head(url, params={"path": os.fsencode(path)}, timeout=_PATIENCE)
        if answer.status_code != 200:
            # HEAD doesn't say why not.
            return None if self.get(container, path) is None else Stat(is_dir=False, mode=0)
        return answers.stat(decode_json_header(answer.headers["x-docker-container-path-stat"]))

    def changes(self, container: str) -> list[Change]:
        with _translated("looking for what changed in the container"):
            return answers.changes(cast("Any", self._api).diff(container) or ())

    def logs(self, container: str, lines: int) -> list[str]:
        with _translated("reading the container's output"):
            return self._api.logs(container, tail=lines).decode(errors="replace").splitlines()

    def output(self, container: str, on_output: Callable[[bytes], None], *, follow: bool = False) -> None:
        with _translated("reading the container's output"):
            for data in self._api.logs(container, stream=True, follow=follow):
                on_output(data)

    # Volumes

    def volumes(self, *, label: str = "") -> list[Volume]:
        with _translated("listing volumes"):
            rows = self._api.volumes(filters={"label": label} if label else None).get("Volumes") or ()
        return answers.volumes(rows)

    def remove_volume(self, name: str) -> None:
        with contextlib.suppress(NotFound), _translated(f"removing volume {name}"):
            self._api.remove_volume(name)


def _mount(mount: Bind | VolumeMount) -> docker.types.Mount:
    if isinstance(mount, Bind):
        return docker.types.Mount(mount.dest, mount.source, type="bind", read_only=mount.readonly)
    return docker.types.Mount(
        mount.dest, mount.volume, type="volume", labels=dict(mount.labels), no_copy=not mount.copies
    )


def _bindings(ports: Sequence[Port]) -> dict[str | int, Any]:
    """As docker-py wants them: what is inside to all the places where it is published."""
    result: dict[str | int, Any] = {}
    for port in ports:
        result.setdefault(f"{port.inside}/{port.protocol}", []).append((port.ip, port.host))
    return result


def _whole(chunks: Iterable[bytes], path: str) -> bytes:
    data = bytearray()
    for chunk in chunks:
        data += chunk
        if len(data) > LARGEST_FILE:
            raise EngineError(f"reading {path!a}: it is larger than {LARGEST_FILE >> 20} MB")
    return bytes(data)


def _nothing_there(error: EngineError) -> bool:
    """Whether a path leads nowhere; a part of it that is no folder is a server error to the engine."""
    text = error.message.lower()
    return "no such container" not in text and (
        isinstance(error, NotFound) or "not a directory" in text or "too many links" in text
    )


def _empty_tar() -> bytes:
    buffer = io.BytesIO()
    tarfile.open(fileobj=buffer, mode="w").close()
    return buffer.getvalue()
