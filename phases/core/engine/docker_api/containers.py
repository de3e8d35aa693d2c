"""Containers from their creation to their removal, and what their main process prints."""

from __future__ import annotations

import contextlib
import re
import time
from typing import TYPE_CHECKING, Any

from phases.core.engine.confinement.restrictions import UNCONFINED, Restrictions
from phases.core.engine.docker_api import payloads, responses
from phases.core.engine.docker_api.api import ApiClient, connection_lost, do_nothing, filters, path
from phases.core.engine.exec import FrameDecoder
from phases.core.engine.types import Bind, Change, Container, PortRefused, Tmpfs, VolumeMount
from phases.core.errors import Conflict, EngineError, EngineUnreachable, NotFound

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from phases.core.port import Port

# The words in which an engine refuses a limit for the log because its log driver has none.
_REFUSES_LOG_LIMIT = re.compile(r"\blog(?:ging)?[- ](?:opt|driver|config)|max-size|max-file", re.IGNORECASE)

_READING_OUTPUT = "reading the container's output"

#: How often the engine is asked whether something that seems to have ended has, and the seconds between two requests.
RETRIES, RETRY_PAUSE = 50, 0.02

# How often the engine is asked whether a container is gone that another client is removing.
_REMOVAL_RETRIES = 500


class DockerContainers(ApiClient):
    """The methods of the engine protocol that are about whole containers."""

    def create(  # noqa: PLR0913 (as in the protocol)
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
        self._prepare_create(image, name, labels or {}, mounts)
        body = payloads.container(image, command, env or {}, labels or {}, mounts, hostname, restrictions, ports)
        if user:
            body["User"] = user
        if stop_signal:
            body["StopSignal"] = stop_signal
        if not log_bytes:
            return self._create(name, body)
        limited = body["HostConfig"] | {"LogConfig": payloads.log_limit(log_bytes)}
        try:
            return self._create(name, body | {"HostConfig": limited})
        except EngineError as error:
            if not _REFUSES_LOG_LIMIT.search(error.message):
                raise
            return self._create(name, body)

    def _prepare_create(
        self, image: str, name: str, labels: Mapping[str, str], mounts: Sequence[Bind | Tmpfs | VolumeMount]
    ) -> None:
        """Do what an engine needs before it creates a container. Docker needs nothing."""

    def _create(self, name: str, body: object) -> str:
        response = self._request(f"creating container {name}", "POST", path("/containers/create", name=name), body)
        return str(response["Id"])

    def start(self, container: str) -> None:
        try:
            self._request("starting the container", "POST", path("/containers/{}/start", container))
        except EngineError as error:
            if port := self._refused_port(error.message, container):
                reason = error.message.rpartition(": ")[2]
                raise PortRefused(reason, port, taken="already" in reason) from error
            raise

    def _refused_port(self, message: str, container: str) -> Port | None:
        """Return the port of the container whose address on the host an error names."""
        try:
            bindings = self._inspect_container(container)["HostConfig"].get("PortBindings")
        except EngineError:
            return None
        for port in responses.published_ports(bindings):
            if re.search(rf"(?<![\w.:])({re.escape(port.address)}|{re.escape(f'{port.ip}:{port.host}')})\b", message):
                return port
        return None

    def _inspect_container(self, container: str) -> Any:
        return self._request(f"looking at container {container}", "GET", path("/containers/{}/json", container))

    def stop(self, container: str, grace: int = 10) -> None:
        with contextlib.suppress(NotFound):
            url = path("/containers/{}/stop", container, t=grace)
            self._request("stopping the container", "POST", url, expected=grace)

    def remove(self, container: str, *, on_sent: Callable[[], None] = do_nothing) -> None:
        try:
            with contextlib.suppress(NotFound):
                url = path("/containers/{}", container, force=True, v=True)
                self._request("removing the container", "DELETE", url, on_sent=on_sent)
        except Conflict:
            # Somebody else is removing it.
            for _ in range(_REMOVAL_RETRIES):
                if self.container(container) is None:
                    return
                if self.timeout.is_short:
                    break
                time.sleep(RETRY_PAUSE)
            raise

    def rename(self, container: str, name: str) -> None:
        url = path("/containers/{}/rename", container, name=name)
        self._request(f"renaming a container to {name}", "POST", url)

    def container(self, name: str) -> Container | None:
        try:
            return responses.container(self._inspect_container(name))
        except NotFound:
            return None

    def _container_is_running(self, container: str) -> bool:
        state = self.container(container)
        return state is not None and state.running

    def containers(self, *, label: str = "", name_prefix: str = "", volume: str = "") -> list[Container]:
        url = path("/containers/json", all=True, filters=filters(label=label, volume=volume))
        rows = self._request("listing containers", "GET", url)
        return [container for container in responses.containers(rows) if container.name.startswith(name_prefix)]

    def commit(self, container: str, changes: Sequence[str], comment: str = "", *, pause: bool = True) -> str:
        url = path(
            "/commit", container=container, comment=comment, changes="\n".join(changes), pause="1" if pause else "0"
        )
        return str(self._request("committing the snapshot", "POST", url, {})["Id"])

    def pause(self, container: str) -> None:
        with contextlib.suppress(Conflict):
            self._request("pausing the container", "POST", path("/containers/{}/pause", container))

    def unpause(self, container: str) -> None:
        self._request("resuming the container", "POST", path("/containers/{}/unpause", container))

    def changes(self, container: str) -> list[Change]:
        url = path("/containers/{}/changes", container)
        return responses.changes(self._request("looking for what changed in the container", "GET", url) or ())


class DockerLogs(DockerContainers):
    """The methods of the engine protocol that read what a container's main process prints."""

    def logs(self, container: str, lines: int) -> list[str]:
        chunks: list[bytes] = []
        self._read_output(container, chunks.append, tail=lines)
        return b"".join(chunks).decode(errors="replace").splitlines()

    def output(self, container: str, on_output: Callable[[bytes], None], *, follow: bool = False) -> None:
        try:
            self._read_output(container, on_output, follow=follow)
        except EngineUnreachable:
            if not follow:
                raise  # else the next request tells whether the engine or only the connection is gone
        for _ in range(RETRIES if follow else 0):
            if not self._container_is_running(container):
                return
            time.sleep(RETRY_PAUSE)
        if follow:
            raise connection_lost(_READING_OUTPUT)

    def _read_output(self, container: str, on_output: Callable[[bytes], None], **query: int) -> None:
        url = path("/containers/{}/logs", container, stdout=True, stderr=True, **query)
        decoder = FrameDecoder()
        with self._open(_READING_OUTPUT, "GET", url) as response:
            for chunk in response.stream():
                for data, _ in decoder.feed(chunk):
                    on_output(data)
