"""Commands in a running container."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from contextlib import closing
from functools import cached_property
from typing import TYPE_CHECKING, Any

from phases.core.engine.docker_api import payloads
from phases.core.engine.docker_api.api import connection_lost, path, stopped_answering
from phases.core.engine.docker_api.containers import RETRIES, RETRY_PAUSE, DockerContainers
from phases.core.engine.exec import PRINT_PID, RUN_IN_TERMINAL, FrameDecoder, PipedExec, SuspensionReader, TtyExec
from phases.core.engine.types import SYSTEM_PATH
from phases.core.errors import Conflict, EngineError, NotFound, PhaseTimeout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from phases.core.engine.docker_py import DockerPyResponse
    from phases.core.engine.protocol import Exec, Piped

_RUNNING = "running a command"

_SWITCHING_PROTOCOLS = 101

# The exit codes of a command that could not be started, whatever the reason.
_NOT_STARTED = (126, 127)

# How often a container is looked at that may end: for half a second.
_ENDING_LOOKS = 25


class DockerExecs(DockerContainers):
    """The methods of the engine protocol that run commands."""

    @cached_property
    def _ended_execs(self) -> set[str]:
        """The ids of commands that this process has seen end."""
        return set()

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
        exec_id, response = self._start_exec(container, argv, user=user, workdir=workdir, env=env, stdin=bool(stdin))
        with self._killed_after(container, timeout) as expired, closing(response):
            try:
                if stdin:
                    response.connection.send(stdin)
                for data, is_err in _output(response):
                    if exec_id.encode() in data:  # a message of the engine: nobody else knows the id
                        raise _stopped_before_start()
                    if on_output:
                        on_output(data, is_err)
            except OSError as error:
                raise stopped_answering(_RUNNING) from error
        if expired.is_set():
            raise PhaseTimeout("timed out")
        return self.exit_code(exec_id)

    @contextlib.contextmanager
    def _killed_after(self, container: str, seconds: float | None) -> Iterator[threading.Event]:
        """Kill a container after `seconds`, unless the block ends before. Yield whether that has happened.

        The API can't end a command, but a command ends with its container.
        """
        expired = threading.Event()

        def kill() -> None:
            expired.set()
            with contextlib.suppress(EngineError):
                self._request("stopping the container", "POST", path("/containers/{}/kill", container))

        if seconds is None:
            yield expired
            return
        timer = threading.Timer(seconds, kill)
        timer.start()
        try:
            yield expired
        finally:
            timer.cancel()

    def _start_exec(
        self, container: str, argv: Sequence[str], *, tty: bool = False, **options: Any
    ) -> tuple[str, DockerPyResponse]:
        """Start a command, with options as in `_create_exec`. Return its id and the response with its streams."""
        exec_id = self._create_exec(container, argv, tty=tty, **options)
        return exec_id, self._attach(exec_id, tty=tty)

    def _create_exec(
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
        """Create a command that is started later. Return its id."""
        body = payloads.command(argv, user, workdir, env or {}, stdin=stdin, tty=tty)
        return str(self._request(_RUNNING, "POST", path("/containers/{}/exec", container), body)["Id"])

    def _attach(self, exec_id: str, *, tty: bool = False) -> DockerPyResponse:
        """Start a created command. Return the response, whose connection carries its streams."""
        url, body = path("/exec/{}/start", exec_id), json.dumps({"Tty": tty, "Detach": False}).encode()
        try:
            response = self._accepted(_RUNNING, lambda: self._http.upgrade(url, body, _RUNNING))
        except NotFound as error:  # its container was stopped since it was created
            raise Conflict(error.message) from error
        if response.status != _SWITCHING_PROTOCOLS:
            response.close()
            raise EngineError(
                f"{_RUNNING}: a proxy before the engine does not pass HTTP upgrades on",
                remedy="let the proxy pass them on, or set DOCKER_HOST to the engine itself",
            )
        return response

    def start_detached(self, container: str, argv: Sequence[str], user: str) -> str:
        """Run a command as a user, without waiting for its end. Return its id.

        The engine reports that it has ended only after the output of every command that ended before it in the
        container was read to the end. A caller that waits here for a second command would never read the first one's.
        """
        exec_id = self._create_exec(container, argv, user=user, workdir="/")
        self._request(_RUNNING, "POST", path("/exec/{}/start", exec_id), {"Detach": True})
        return exec_id

    def _inspect_exec(self, exec_id: str) -> Any:
        return self._request(_RUNNING, "GET", path("/exec/{}/json", exec_id))

    def exec_is_running(self, exec_id: str) -> bool:
        return bool(self._inspect_exec(exec_id)["Running"])

    def _container_is_ending(self, container: str) -> bool:
        """Return whether a container ends soon: the engine refuses a command before it reports the container's end."""
        for _ in range(_ENDING_LOOKS):
            if not self._container_is_running(container):
                return True
            time.sleep(RETRY_PAUSE)
        return False

    def exit_code(self, exec_id: str) -> int:
        for _ in range(RETRIES):
            state = self._inspect_exec(exec_id)
            code = state.get("ExitCode")
            if code is not None:
                if code in _NOT_STARTED and not state.get("Pid") and self._container_is_ending(state["ContainerID"]):
                    raise _stopped_before_start()
                self._ended_execs.add(exec_id)
                return int(code)
            if not state["Running"] or not self._container_is_running(state["ContainerID"]):
                return 137  # the container ended under the command
            time.sleep(RETRY_PAUSE)
        raise connection_lost(_RUNNING)

    def resize(self, exec_id: str, rows: int, columns: int) -> None:
        self._request("sizing a terminal", "POST", path("/exec/{}/resize", exec_id, h=rows, w=columns))

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
        suspensions = SuspensionReader()
        args = (*map(str, size), suspensions.report, SYSTEM_PATH)
        program = ("/bin/sh", "-c", RUN_IN_TERMINAL.text, "sh", *args, *argv)
        started = self._start_exec(container, program, user=user, workdir=workdir, env=env, tty=True, stdin=True)
        return TtyExec(self, container, *started, user, suspensions)

    def exec_piped(
        self, container: str, argv: Sequence[str], *, user: str, workdir: str, env: Mapping[str, str]
    ) -> Piped:
        started = self._start_exec(container, (*PRINT_PID, *argv), user=user, workdir=workdir, env=env, stdin=True)
        return PipedExec(self, container, *started, user)

    def running_execs(self, container: str) -> int:
        running: set[str] = set()
        seen = set(self._ended_execs)
        # Other sessions may start commands meanwhile, so the list is read until nothing in it is new.
        while new := set(self._inspect_container(container).get("ExecIDs") or ()) - seen:
            seen |= new
            for exec_id in new:
                with contextlib.suppress(NotFound):
                    if self._runs_or_starts(exec_id):
                        running.add(exec_id)
        return len(running)

    def _runs_or_starts(self, exec_id: str) -> bool:
        """Return whether a command runs, or does within a moment: it is created first, and started then."""
        for _ in range(RETRIES):
            state = self._inspect_exec(exec_id)
            if state["Running"] or state.get("ExitCode") is not None:
                return bool(state["Running"])
            time.sleep(RETRY_PAUSE)
        return False  # the process that created it is gone


def _stopped_before_start() -> Conflict:
    return Conflict(f"{_RUNNING}: its container was stopped before that began")


def _output(response: DockerPyResponse) -> Iterator[tuple[bytes, bool]]:
    """Yield what a command prints, and whether that is of stderr."""
    decoder = FrameDecoder()
    while chunk := response.connection.receive():
        yield from decoder.feed(chunk)
