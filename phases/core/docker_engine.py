"""The engine protocol over Docker's HTTP API. What is asked, in the API's words, is `questions`; what an answer says,
`answers`; how both come and go, `asking`. What is about images is `docker_images`.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import threading
import time
from base64 import urlsafe_b64decode
from contextlib import closing
from functools import cached_property
from typing import IO, TYPE_CHECKING, Any

from phases.core import answers, questions
from phases.core.api import gone, lost, received
from phases.core.asking import nothing
from phases.core.docker_images import DockerImages
from phases.core.engine import (
    LARGEST_FILE,
    UNCONFINED,
    Bind,
    Change,
    Confinement,
    Container,
    Exec,
    PathInfo,
    Piped,
    Stat,
    Tmpfs,
    Volume,
    VolumeMount,
)
from phases.core.errors import Conflict, EngineError, EngineUnreachable, NotFound, PhaseTimeout, PortRefused
from phases.core.execs import OPENING, PipedExec, TtyExec
from phases.core.frames import Frames
from phases.core.questions import path
from phases.core.root_environment import SYSTEM_PATH

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from phases.core.api import Reply
    from phases.core.port import Port

# The engine sets a terminal's size only once its command runs, too late for what that draws first.
_SIZED = f'PATH={SYSTEM_PATH} stty rows "$1" cols "$2" 2>/dev/null; shift 2; exec "$@"'

# How an engine says that what it logs with knows no limit.
_REFUSES_LIMIT = re.compile(r"\blog(?:ging)?[- ](?:opt|driver|config)|max-size|max-file", re.IGNORECASE)

# What is being done, where a command is run.
_RUNNING = "running a command"

# The status that says that a connection is handed over.
_HANDED_OVER = 101

# The exit codes of what could not be run, for whatever reason.
_NOT_BEGUN = (126, 127)
#: The header in which the file API tells of a path.
STAT = "x-docker-container-path-stat"

# From the one alphabet of base64 to the other.
_URL_ALPHABET = str.maketrans("+/", "-_")

# And where the container's output is read.
_READING = "reading the container's output"

# How often the engine is asked whether something has ended that seems to have, and the seconds in between.
_LOOKS, _PAUSE = 50, 0.02


class DockerEngine(DockerImages):
    """The engine protocol, spoken to a real engine."""

    @cached_property
    def _ended(self) -> set[str]:
        """Commands of this process that have, by their ids."""
        return set()

    def platform(self) -> str:
        found = self._ask("asking for its platform", "GET", "/version")
        return f"{found['Os']}/{found['Arch']}"

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
        log_bytes: int = 0,
    ) -> str:
        self._before_create(image, name, labels or {}, mounts)
        body = questions.container(image, command, env or {}, labels or {}, mounts, hostname, confinement, ports)
        if not log_bytes:
            return self._create(name, body)
        limited = body["HostConfig"] | {"LogConfig": questions.log_limit(log_bytes)}
        try:
            return self._create(name, body | {"HostConfig": limited})
        except EngineError as error:
            if not _REFUSES_LIMIT.search(error.message):
                raise
            return self._create(name, body)

    def _before_create(
        self, image: str, name: str, labels: Mapping[str, str], mounts: Sequence[Bind | Tmpfs | VolumeMount]
    ) -> None:
        """What an engine needs beside the request for a container: of Docker nothing."""

    def _create(self, name: str, body: object) -> str:
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
            where = path("/containers/{}/stop", container, t=grace)
            self._ask("stopping the container", "POST", where, due=grace)

    def remove(self, container: str, *, sent: Callable[[], None] = nothing) -> None:
        try:
            with contextlib.suppress(NotFound):
                where = path("/containers/{}", container, force=True, v=True)
                self._ask("removing the container", "DELETE", where, sent=sent)
        except Conflict:
            # Somebody else is removing it: done once it isn't there.
            for _ in range(500):
                if self.container(container) is None:
                    return
                if self.patience.hurries:
                    break
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
        exec_id, line = self._begin(container, argv, user=user, workdir=workdir, env=env, stdin=bool(stdin))
        if watchdog:
            watchdog.start()
        try:
            with closing(line):
                if stdin:
                    line.socket.sendall(stdin)
                for data, is_err in _printed(line.socket):
                    if exec_id.encode() in data:  # the engine's own words: nobody else knows it
                        raise Conflict(f"{_RUNNING}: its container was stopped before that began")
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

    def _begin(self, container: str, argv: Sequence[str], *, tty: bool = False, **how: Any) -> tuple[str, Reply]:
        """Start a command. how: as of `_exec`. Returns its id, and the connection that its streams go over."""
        exec_id = self._exec(container, argv, tty=tty, **how)
        return exec_id, self._attached(exec_id, tty=tty)

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
        try:
            reply = self._send(_RUNNING, "POST", path("/exec/{}/start", exec_id), body, hands_over=True)
        except NotFound as error:  # its container was stopped since
            raise Conflict(error.message) from error
        if reply.status != _HANDED_OVER:
            reply.close()
            raise EngineError(
                f"{_RUNNING}: what stands between here and the engine hands no connection over",
                remedy="have it let HTTP upgrades through, or go to the engine without it",
            )
        reply.socket.settimeout(None)  # a command may be silent for hours
        return reply

    def send_off(self, container: str, argv: Sequence[str], user: str) -> str:
        """Have a user run a command, without waiting for its end. Returns its id.

        The engine tells of that only after all that ended before it in the container was read to the
        end, which it never is by one who waits here.
        """
        exec_id = self._exec(container, argv, user=user, workdir="/")
        self._ask(_RUNNING, "POST", path("/exec/{}/start", exec_id), {"Detach": True})
        return exec_id

    def _exec_state(self, exec_id: str) -> Any:
        return self._ask(_RUNNING, "GET", path("/exec/{}/json", exec_id))

    def is_running(self, exec_id: str) -> bool:
        return bool(self._exec_state(exec_id)["Running"])

    def exit_code(self, exec_id: str) -> int:
        for _ in range(_LOOKS):
            state = self._exec_state(exec_id)
            code = state.get("ExitCode")
            if code is not None:
                if code in _NOT_BEGUN and not state.get("Pid") and self._is_ending(state["ContainerID"]):
                    raise Conflict(f"{_RUNNING}: its container was stopped before that began")
                self._ended.add(exec_id)
                return int(code)
            if not state["Running"] or not self._runs(state["ContainerID"]):
                return 137  # the container ended under the command
            time.sleep(_PAUSE)
        raise lost(_RUNNING)

    def _is_ending(self, container: str) -> bool:
        """Whether the container ends soon: the engine refuses a command before it reports the container's end."""
        for _ in range(_LOOKS // 2):
            if not self._runs(container):
                return True
            time.sleep(_PAUSE)
        return False

    def _runs(self, container: str) -> bool:
        found = self.container(container)
        return found is not None and found.running

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
        return TtyExec(self, *self._begin(container, sized, user=user, workdir=workdir, env=env, tty=True, stdin=True))

    def execute_piped(
        self, container: str, argv: Sequence[str], *, user: str, workdir: str, env: Mapping[str, str]
    ) -> Piped:
        opened = (*OPENING, *argv)
        exec_id, line = self._begin(container, opened, user=user, workdir=workdir, env=env, stdin=True)
        return PipedExec(self, container, exec_id, line, user)

    def running_execs(self, container: str) -> int:
        running: set[str] = set()
        seen = set(self._ended)
        # Others may begin some while these are asked about: the last list has none that is new.
        while new := set(self._looked_at(container).get("ExecIDs") or ()) - seen:
            seen |= new
            for exec_id in new:
                with contextlib.suppress(NotFound):
                    if self._is_under_way(exec_id):
                        running.add(exec_id)
        return len(running)

    def _is_under_way(self, exec_id: str) -> bool:
        """Whether it runs, or does within a moment: a command is made first, and then started."""
        for _ in range(_LOOKS):
            state = self._exec_state(exec_id)
            if state["Running"] or state.get("ExitCode") is not None:
                return bool(state["Running"])
            time.sleep(_PAUSE)
        return False  # whoever made it is gone

    def put(self, container: str, folder: str, archive: IO[bytes]) -> None:
        where = path("/containers/{}/archive", container, path=folder, noOverwriteDirNonDir="true")
        self._ask(f"copying into {folder}", "PUT", where, archive)

    def get(self, container: str, path: str) -> bytes | None:
        try:
            with self._reply(f"reading {path!a}", "GET", place(container, path)) as reply:
                stat = stat_of(reply)
                data = _whole(reply, path)
        except EngineError as error:
            if _nothing_there(error):
                return None
            raise
        import tarfile

        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            member = tar.next()
            if member and member.issym():
                return self.get(container, stat["linkTarget"])
            file = tar.extractfile(member) if member and member.isreg() else None
            return file.read() if file else None

    def path_info(self, container: str, path: str, *, content: bool = False) -> PathInfo | None:
        import tarfile

        try:
            # Of a folder the whole tree would come: the connection is closed once the first entry's head is there.
            with (
                self._reply(f"looking at {path!a}", "GET", place(container, path)) as reply,
                tarfile.open(fileobj=Stream(reply.chunks()), mode="r|") as tar,
            ):
                member = tar.next()
                if member is None:
                    return None
                if content and member.size > LARGEST_FILE:
                    raise too_large(path)
                file = tar.extractfile(member) if content and member.isreg() else None
                return answers.path_info(member, file.read() if file else b"")
        except tarfile.TarError as error:
            raise gone(f"looking at {path!a}") from error
        except EngineError as error:
            if _nothing_there(error):
                return None
            raise

    def pause(self, container: str) -> None:
        with contextlib.suppress(Conflict):
            self._ask("pausing the container", "POST", path("/containers/{}/pause", container))

    def unpause(self, container: str) -> None:
        self._ask("resuming the container", "POST", path("/containers/{}/unpause", container))

    def stat(self, container: str, path: str) -> Stat | None:
        try:
            with self._reply(f"looking at {path!a}", "HEAD", place(container, path)) as reply:
                return answers.stat(stat_of(reply))
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
        for _ in range(_LOOKS if follow else 0):
            if not self._runs(container):
                return
            time.sleep(_PAUSE)
        if follow:
            raise lost(_READING)

    def _read_output(self, container: str, on_output: Callable[[bytes], None], **how: int) -> None:
        where = path("/containers/{}/logs", container, stdout=True, stderr=True, **how)
        frames = Frames()
        with self._reply(_READING, "GET", where) as reply:
            for chunk in reply.chunks():
                for data, _ in frames.feed(chunk):
                    on_output(data)

    # Volumes

    def volumes(self, *, label: str = "") -> list[Volume]:
        where = path("/volumes", filters=questions.filters(label=label))
        return answers.volumes(self._ask("listing volumes", "GET", where).get("Volumes") or ())

    def create_volume(self, name: str, labels: Mapping[str, str]) -> Volume:
        body = {"Name": name, "Labels": dict(labels)}
        return answers.volumes([self._ask(f"making volume {name}", "POST", path("/volumes/create"), body)])[0]

    def remove_volume(self, name: str) -> None:
        with contextlib.suppress(NotFound):
            self._ask(f"removing volume {name}", "DELETE", path("/volumes/{}", name))


def _printed(line: socket.socket) -> Iterator[tuple[bytes, bool]]:
    """What a command prints, and whether that is of stderr."""
    frames = Frames()
    while chunk := received(line):
        yield from frames.feed(chunk)


def place(container: str, inside: str) -> str:
    """A path in a container."""
    return path("/containers/{}/archive", container, path=os.fsencode(inside))


def stat_of(reply: Reply) -> Any:
    """What a reply of the file API tells of what it is about. Podman writes it in the alphabet for URLs."""
    return json.loads(urlsafe_b64decode(reply.headers[STAT].translate(_URL_ALPHABET)))


def _whole(reply: Reply, path: str) -> bytes:
    data = bytearray()
    for piece in reply.pieces():
        data += piece
        if len(data) > LARGEST_FILE:
            raise too_large(path)
    return bytes(data)


def too_large(path: str) -> EngineError:
    return EngineError(f"reading {path!a}: it is larger than {LARGEST_FILE >> 20} MB")


class Stream(io.RawIOBase):
    """Chunks as a file that is read once."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._left = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        self._left = self._left or next(self._chunks, b"")
        data, self._left = self._left[: len(buffer)], self._left[len(buffer) :]
        buffer[: len(data)] = data
        return len(data)


def _nothing_there(error: EngineError) -> bool:
    """Whether a path leads nowhere; a part of it that is no folder is a server error to the engine."""
    text = error.message.lower()
    return "no such container" not in text and (
        isinstance(error, NotFound) or any(sign in text for sign in ("not a directory", "too many l"))
    )
