"""The engine protocol over Docker's HTTP API. What is asked, in the API's words, is `questions`; what an answer says,
`answers`; how both come and go, `api`.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import threading
import time
from base64 import b64decode
from contextlib import closing, contextmanager
from typing import IO, TYPE_CHECKING, Any

from phases.core import answers, questions, reaching
from phases.core.api import JSON, TAR, gone, refusal
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
from phases.core.errors import Conflict, EngineError, EngineUnreachable, NotFound, PhaseTimeout, PortRefused
from phases.core.execs import OPENING, PipedExec, TtyExec, received
from phases.core.frames import Frames
from phases.core.questions import path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from phases.core.api import Api, Reply
    from phases.core.engine import OnLine, OnPull
    from phases.core.port import Port
    from phases.core.secrets import Value

# The engine sets a terminal's size only once its command runs, too late for what that draws first.
_SIZED = 'stty rows "$1" cols "$2" 2>/dev/null; shift 2; exec "$@"'

# What is being done, where a command is run.
_RUNNING = "running a command"


def _nothing() -> None: ...


def connect() -> DockerEngine:
    """The engine of DOCKER_HOST, else of the current docker context, else of the default socket.

    Raises EngineUnreachable when none answers there.
    """
    return DockerEngine(*reaching.connect())


class DockerEngine:
    """The engine protocol, spoken to a real engine. asked: the reply to `questions.IMAGES`, where that was asked
    ahead.
    """

    def __init__(self, api: Api, asked: Reply | None = None) -> None:
        self.address = api.address
        self._api = api
        self._asked = asked

    # Requests

    def _send(
        self, what: str, method: str, where: str, body: Any = None, *, sent: Callable[[], None] = _nothing, **how: Any
    ) -> Reply:
        """Send a request, and wait for the head of the reply, which is to be closed. what: is being done; body: a tar
        as it is, anything else as JSON; sent: as of `remove`. Raises EngineError.
        """
        is_tar = hasattr(body, "read")
        data = body if is_tar else b"" if body is None else json.dumps(body).encode()
        try:
            reply = self._api.send(method, where, data, TAR if is_tar else JSON, **how)
            if self._api.carries_on:
                sent()
            try:
                if reply.status < 400:
                    return reply
                reason = _reason(reply)
            except BaseException:
                reply.close()
                raise
            reply.close()
        except OSError as error:
            raise gone(what) from error
        raise refusal(what, reply.status, reason)

    @contextmanager
    def _reply(self, what: str, method: str, where: str, body: Any = None, **how: Any) -> Iterator[Reply]:
        """The same, closed in the end. Raises EngineError also for what is met when it is read."""
        with closing(self._send(what, method, where, body, **how)) as reply:
            try:
                yield reply
            except OSError as error:
                raise gone(what) from error

    def _ask(self, what: str, method: str, where: str, body: Any = None, **how: Any) -> Any:
        """What a request is answered with; None for nothing."""
        with self._reply(what, method, where, body, **how) as reply:
            return _told(reply)

    # Images

    def images(self) -> list[Image]:
        asked, self._asked = self._asked, None
        if asked:
            # Whoever asks again is told what is wrong.
            with closing(asked), contextlib.suppress(OSError):
                return answers.images(_told(asked))
        return answers.images(self._ask("listing images", "GET", questions.IMAGES))

    def stored(self) -> list[Stored]:
        return answers.stored(self._ask("listing images", "GET", path(questions.IMAGES, all=True)))

    def layers(self, image: str) -> list[Layer]:
        return answers.layers(self._ask(f"looking at image {image[:19]}", "GET", path("/images/{}/history", image)))

    def image_config(self, reference: str) -> ImageConfig | None:
        try:
            return answers.image_config(self._inspected(reference))
        except NotFound:
            return None

    def _inspected(self, image: str) -> Any:
        return self._ask(f"looking at image {image}", "GET", path("/images/{}/json", image))

    def pull(self, reference: str, on_pull: OnPull) -> None:
        from phases.core import docker_package

        what = f"pulling {reference}"
        repository, tag, headers = docker_package.to_pull(reference)
        where = path("/images/create", fromImage=repository, tag=tag)
        for row in self._progress(what, where, headers=headers):
            detail = row.get("progressDetail") or {}
            on_pull(row.get("id", ""), row.get("status", ""), detail.get("current") or 0, detail.get("total") or 0)

    def _progress(self, what: str, where: str, body: Any = None, **how: Any) -> Iterator[Any]:
        """The rows in which the engine tells how it gets on. Raises EngineError for one that says that it doesn't."""
        with self._reply(what, "POST", where, body, **how) as reply:
            for row in answers.rows(reply.chunks()):
                if "error" in row:
                    raise EngineError(f"{what}: {row['error'].strip()}")
                yield row

    def build(self, context: IO[bytes], tag: str, on_line: OnLine, secrets: Sequence[Value] = ()) -> str:
        from phases.core import docker_command

        command = docker_command.find()
        if secrets and not (command and command.buildkit):
            raise EngineError("a Dockerfile is given secrets by BuildKit, and there is no `docker` here that has it")
        if not command:
            return self._build(context, tag, on_line)
        try:
            return docker_command.build(command, context, tag, on_line, secrets)
        except EngineError:
            self._ask("building the Dockerfile", "GET", "/_ping")  # else it is not the Dockerfile that is to be mended
            raise

    def _build(self, context: IO[bytes], tag: str, on_line: OnLine) -> str:
        """Without BuildKit, which the API doesn't know."""
        from phases.core import docker_package

        image = ""
        where = path("/build", t=tag, rm=True, forcerm=True)
        for row in self._progress("building the Dockerfile", where, context, headers=docker_package.to_build()):
            for line in row.get("stream", "").splitlines():
                on_line(line)
            image = (row.get("aux") or {}).get("ID", image)
        return image

    def tag(self, image: str, reference: str) -> None:
        repository, _, tag = reference.rpartition(":")
        where = path("/images/{}/tag", image, repo=repository, tag=tag, force=True)
        self._ask(f"tagging {reference}", "POST", where)

    def untag(self, reference: str) -> None:
        what, where = f"removing {reference}", path("/images/{}", reference)
        try:
            self._ask(what, "DELETE", where)
        except NotFound:
            return
        except Conflict:
            # A container uses the image. The engine can't take the last tag of such an image away,
            # but the tag can move to an empty image, and go with that.
            repository, _, tag = reference.rpartition(":")
            empty = path("/images/create", fromSrc="-", repo=repository, tag=tag)
            self._ask(what, "POST", empty, _empty_tar())
            self._ask(what, "DELETE", where)

    def remove_image(self, image: str) -> bool:
        try:
            # By its id the engine would remove an image with one tag as well, and with it the tag.
            if self._inspected(image).get("RepoTags"):
                return False
            self._ask(f"removing image {image[:19]}", "DELETE", path("/images/{}", image))
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
        body = questions.container(image, command, env or {}, labels or {}, mounts, hostname, confinement, ports)
        made = self._ask(f"creating container {name}", "POST", path("/containers/create", name=name), body)
        return str(made["Id"])

    def start(self, container: str) -> None:
        try:
            self._ask("starting the container", "POST", path("/containers/{}/start", container))
        except EngineError as error:
            if port := self._port_in(error.message, container):
                reason = error.message.rpartition(": ")[2]
                raise PortRefused(reason, port, taken="already" in reason) from error
            raise

    def _port_in(self, message: str, container: str) -> Port | None:
        """Which of the container's ports a message is about, by its address there."""
        try:
            wanted = self._looked_at(container)["HostConfig"].get("PortBindings")
        except EngineError:
            return None
        for port in answers.published(wanted):
            if re.search(rf"(?<![\w.:])({re.escape(port.address)}|{re.escape(f'{port.ip}:{port.host}')})\b", message):
                return port
        return None

    def _looked_at(self, container: str) -> Any:
        return self._ask(f"looking at container {container}", "GET", path("/containers/{}/json", container))

    def stop(self, container: str, grace: int = 10) -> None:
        with contextlib.suppress(NotFound):
            self._ask("stopping the container", "POST", path("/containers/{}/stop", container, t=grace))

    def remove(self, container: str, *, sent: Callable[[], None] = _nothing) -> None:
        try:
            with contextlib.suppress(NotFound):
                where = path("/containers/{}", container, force=True, v=True)
                self._ask("removing the container", "DELETE", where, sent=sent)
        except Conflict:
            # Somebody else is removing it: done once it isn't there.
            for _ in range(500):
                if self.container(container) is None:
                    return
                time.sleep(0.02)
            raise

    def rename(self, container: str, name: str) -> None:
        self._ask(f"renaming a container to {name}", "POST", path("/containers/{}/rename", container, name=name))

    def container(self, name: str) -> Container | None:
        try:
            return answers.container(self._looked_at(name))
        except NotFound:
            return None

    def containers(self, *, label: str = "", name_prefix: str = "", volume: str = "") -> list[Container]:
        where = path("/containers/json", all=True, filters=questions.filters(label=label, volume=volume))
        rows = self._ask("listing containers", "GET", where)
        return [container for container in answers.containers(rows) if container.name.startswith(name_prefix)]

    def commit(self, container: str, changes: Sequence[str], comment: str = "", *, pause: bool = True) -> str:
        where = path(
            "/commit", container=container, comment=comment, changes="\n".join(changes), pause="1" if pause else "0"
        )
        return str(self._ask("committing the snapshot", "POST", where, {})["Id"])

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
            with contextlib.suppress(EngineError):
                self._ask("stopping the container", "POST", path("/containers/{}/kill", container))

        # The API can't end an exec, but it ends with its container.
        watchdog = threading.Timer(timeout, kill) if timeout is not None else None
        exec_id = self._exec(container, argv, user=user, workdir=workdir, env=env, stdin=bool(stdin))
        if watchdog:
            watchdog.start()
        try:
            with closing(self._attached(exec_id)) as line:
                if stdin:
                    line.socket.sendall(stdin)
                frames = Frames()
                while chunk := received(line.socket):
                    for data, is_err in frames.feed(chunk):
                        if on_output:
                            on_output(data, is_err)
        except OSError as error:
            raise gone(_RUNNING) from error
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
        body = questions.command(argv, user, workdir, env or {}, stdin=stdin, tty=tty)
        return str(self._ask(_RUNNING, "POST", path("/containers/{}/exec", container), body)["Id"])

    def _attached(self, exec_id: str, *, tty: bool = False) -> Reply:
        """Start a command, and be handed what it is spoken to over."""
        body = {"Tty": tty, "Detach": False}
        reply = self._send(_RUNNING, "POST", path("/exec/{}/start", exec_id), body, hands_over=True)
        reply.socket.settimeout(None)  # a command may be silent for hours
        return reply

    def send_off(self, container: str, argv: Sequence[str]) -> str:
        """Have root run a command, without waiting for its end. Returns its id.

        The engine tells of that only after all that ended before it in the container was read to the
        end, which it never is by one who waits here.
        """
        exec_id = self._exec(container, argv, workdir="/")
        self._ask(_RUNNING, "POST", path("/exec/{}/start", exec_id), {"Detach": True})
        return exec_id

    def _exec_state(self, exec_id: str) -> Any:
        return self._ask(_RUNNING, "GET", path("/exec/{}/json", exec_id))

    def is_running(self, exec_id: str) -> bool:
        return bool(self._exec_state(exec_id)["Running"])

    def exit_code(self, exec_id: str) -> int:
        code = self._exec_state(exec_id).get("ExitCode")
        # None: the container ended under the command.
        return 137 if code is None else int(code)

    def resize(self, exec_id: str, rows: int, columns: int) -> None:
        self._ask("sizing a terminal", "POST", path("/exec/{}/resize", exec_id, h=rows, w=columns))

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
        exec_id = self._exec(container, sized, user=user, workdir=workdir, env=env, tty=True, stdin=True)
        return TtyExec(self, exec_id, self._attached(exec_id, tty=True))

    def execute_piped(
        self, container: str, argv: Sequence[str], *, user: str, workdir: str, env: Mapping[str, str]
    ) -> Piped:
        exec_id = self._exec(container, (*OPENING, *argv), user=user, workdir=workdir, env=env, stdin=True)
        return PipedExec(self, container, exec_id, self._attached(exec_id))

    def running_execs(self, container: str) -> int:
        running = 0
        for exec_id in self._looked_at(container).get("ExecIDs") or ():
            with contextlib.suppress(NotFound):
                running += self.is_running(exec_id)
        return running

    def put(self, container: str, folder: str, archive: IO[bytes]) -> None:
        where = path("/containers/{}/archive", container, path=folder, noOverwriteDirNonDir="true")
        self._ask(f"copying into {folder}", "PUT", where, archive)

    def get(self, container: str, path: str) -> bytes | None:
        try:
            with self._reply(f"reading {path!a}", "GET", _place(container, path)) as reply:
                stat = _stat_of(reply)
                data = _whole(reply, path)
        except EngineError as error:
            if _nothing_there(error):
                return None
            raise
        if link := stat.get("linkTarget"):
            return self.get(container, link)
        import tarfile

        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            member = tar.next()
            file = tar.extractfile(member) if member else None
            return file.read() if file else None

    def stat(self, container: str, path: str) -> Stat | None:
        try:
            with self._reply(f"looking at {path!a}", "HEAD", _place(container, path)) as reply:
                return answers.stat(_stat_of(reply))
        except EngineUnreachable:
            raise
        except EngineError:
            # HEAD doesn't say why not.
            return None if self.get(container, path) is None else Stat(is_dir=False, mode=0)

    def changes(self, container: str) -> list[Change]:
        rows = self._ask("looking for what changed in the container", "GET", path("/containers/{}/changes", container))
        return answers.changes(rows or ())

    def logs(self, container: str, lines: int) -> list[str]:
        said: list[bytes] = []
        self._read_output(container, said.append, tail=lines)
        return b"".join(said).decode(errors="replace").splitlines()

    def output(self, container: str, on_output: Callable[[bytes], None], *, follow: bool = False) -> None:
        self._read_output(container, on_output, follow=follow)

    def _read_output(self, container: str, on_output: Callable[[bytes], None], **how: int) -> None:
        where = path("/containers/{}/logs", container, stdout=True, stderr=True, **how)
        frames = Frames()
        with self._reply("reading the container's output", "GET", where) as reply:
            for chunk in reply.chunks():
                for data, _ in frames.feed(chunk):
                    on_output(data)

    # Volumes

    def volumes(self, *, label: str = "") -> list[Volume]:
        where = path("/volumes", filters=questions.filters(label=label))
        return answers.volumes(self._ask("listing volumes", "GET", where).get("Volumes") or ())

    def remove_volume(self, name: str) -> None:
        with contextlib.suppress(NotFound):
            self._ask(f"removing volume {name}", "DELETE", path("/volumes/{}", name))


def _told(reply: Reply) -> Any:
    """The JSON that a reply is, None where it isn't. Raises OSError for what should be, and isn't."""
    data = reply.body()
    if not reply.headers.get("content-type", "").startswith(JSON):
        return None
    try:
        return json.loads(data) if data else None
    except ValueError as error:
        raise ConnectionError("the answer is not what it says to be") from error


def _reason(reply: Reply) -> str:
    """Why the engine has refused."""
    text = reply.body().decode(errors="replace")
    try:
        return str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        return text or f"the engine says {reply.status}"


def _place(container: str, inside: str) -> str:
    """A path in a container."""
    return path("/containers/{}/archive", container, path=os.fsencode(inside))


def _stat_of(reply: Reply) -> Any:
    """What a reply of the file API tells of what it is about."""
    return json.loads(b64decode(reply.headers["x-docker-container-path-stat"]))


def _whole(reply: Reply, path: str) -> bytes:
    data = bytearray()
    for chunk in reply.chunks():
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


def _empty_tar() -> IO[bytes]:
    """Nothing but the blocks that end one."""
    return io.BytesIO(bytes(1024))
