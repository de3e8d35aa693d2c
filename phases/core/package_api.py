"""The engine's API through the docker package, which knows every way to an engine, and who may pull from where.

The one module that imports the package; its exceptions become ours here.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, cast

import docker
import docker.errors
import urllib3.connection
import urllib3.connectionpool
from docker.context import ContextAPI
from docker.context.config import get_current_context_name
from docker.utils import parse_repository_tag

from phases.core.api import CHUNK, GREETING, JSON, PATIENCE, gone, nobody_at, refusal
from phases.core.connections import Answer, Connections
from phases.core.errors import EngineError, EngineUnreachable

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator, Mapping

    import requests
    from docker.api import APIClient

    from phases.core.engine import OnLine, OnPull

# The one way there is to tell all the pools, and their connections, that docker-py makes.
cast("Any", urllib3.connectionpool.ConnectionPool).QueueCls = Connections
urllib3.connection.HTTPConnection.response_class = Answer


def connect() -> PackageApi:
    """To the engine of DOCKER_HOST, else of the current docker context, else of the default socket.

    Raises EngineUnreachable when none answers there.
    """
    host = os.environ.get("DOCKER_HOST", "")
    context = None if host else _context()
    shown = context.Host if context else host
    if shown.startswith("ssh://"):
        # The package would want one more, and has no bare connection to give to whoever speaks to a command.
        place, there = "/tmp/docker.sock", "/var/run/docker.sock"  # noqa: S108 (said to a person)
        remedy = f"ssh -NL {place}:{there} {shown} makes it a socket of this machine, for DOCKER_HOST=unix://{place}"
        raise EngineUnreachable(f"no engine is asked by ssh, as that of {shown} would be", remedy=remedy)
    try:
        if context:
            client = docker.DockerClient(base_url=context.Host, tls=context.TLSConfig or False, timeout=GREETING)
        else:
            client = docker.from_env(timeout=GREETING)
        client.ping()
    except (docker.errors.DockerException, OSError, ValueError) as error:
        if isinstance(error, OSError) or isinstance(error.__context__, OSError):
            raise nobody_at(shown, error) from error
        why = str(error).partition(". ")[0]
        remedy = "see DOCKER_HOST and DOCKER_CERT_PATH, or your docker context"
        raise EngineUnreachable(f"{shown} leads to no engine ({why})", remedy=remedy) from error
    return PackageApi(client.api, shown)


def _context() -> Any:
    """The docker context that is chosen. The package has no types for it, and no exception of its own."""
    name = os.environ.get("DOCKER_CONTEXT", "")
    remedy = "docker context ls shows those that there are"
    try:
        context = ContextAPI.get_context(name)
    except Exception as error:
        raise EngineUnreachable(f"the docker context can't be read ({error})", remedy=remedy) from error
    if context is None:
        raise EngineUnreachable(f"there is no docker context {name or get_current_context_name()}", remedy=remedy)
    return context


class PackageApi:
    """phases.core.api.Api."""

    #: The package waits for the answer before anybody knows whether a request was sent.
    carries_on = False

    def __init__(self, client: APIClient, address: str) -> None:
        self.client = client
        self.client.timeout = PATIENCE  # also for what the package asks by itself
        self.patience: float = PATIENCE
        self.address = address

    def send(
        self, method: str, path: str, body: bytes | IO[bytes] = b"", kind: str = JSON, *, hands_over: bool = False
    ) -> PackageReply:
        headers = {"Content-Type": kind} if body else {}
        if hands_over:
            headers |= {"Connection": "Upgrade", "Upgrade": "tcp"}
        response = self.client.request(
            method,
            f"{self.client.base_url}{path}",
            data=body or None,
            headers=headers,
            stream=True,
            timeout=self.patience,
        )
        return PackageReply(self.client, response)

    # What takes credentials, of which the package knows where they are

    def pull(self, reference: str, on_pull: OnPull) -> None:
        repository, tag = parse_repository_tag(reference)
        what = f"pulling {reference}"
        with _translated(what):
            for event in self.client.pull(repository, tag or "latest", stream=True, decode=True):
                if "error" in event:
                    raise EngineError(f"{what}: {event['error']}")
                detail = event.get("progressDetail") or {}
                on_pull(
                    event.get("id", ""), event.get("status", ""), detail.get("current") or 0, detail.get("total") or 0
                )

    def build(self, context: IO[bytes], tag: str, on_line: OnLine) -> str:
        """Build a tar without BuildKit. Returns the id of the image."""
        image, what = "", "building the Dockerfile"
        with _translated(what):
            for event in self.client.build(
                fileobj=context, custom_context=True, tag=tag, rm=True, forcerm=True, decode=True
            ):
                if "error" in event:
                    raise EngineError(f"{what}: {event['error'].strip()}")
                for line in event.get("stream", "").splitlines():
                    on_line(line)
                image = (event.get("aux") or {}).get("ID", image)
        return image


@contextmanager
def _translated(what: str) -> Iterator[None]:
    """Turn the vendor's exceptions into ours; `what` was being done."""
    try:
        yield
    except docker.errors.APIError as error:
        raise refusal(what, error.status_code or 500, str(error.explanation or error)) from error
    except docker.errors.DockerException as error:
        raise EngineError(f"{what}: {error}") from error
    except OSError as error:  # as those of requests are
        raise gone(what) from error


class PackageReply:
    """phases.core.api.Reply."""

    def __init__(self, client: APIClient, response: requests.Response) -> None:
        self._client = client
        self._response = response
        self.status = response.status_code
        self.headers: Mapping[str, str] = response.headers  # whose names have no case

    def body(self) -> bytes:
        return self._response.content

    def chunks(self) -> Iterator[bytes]:
        cast("Any", self._client)._disable_socket_timeout(self._file())  # noqa: SLF001 (as the package does for its own)
        yield from self._response.iter_content(CHUNK)

    def _file(self) -> Any:
        return cast("Any", self._client)._get_raw_response_socket(self._response)  # noqa: SLF001 (there is no other way)

    def line(self) -> PackageLine:
        return PackageLine(self._response, self._file())

    def close(self) -> None:
        self._response.close()


class PackageLine:
    """phases.core.api.Line. Closed is also the connection that it came by, which would stay open."""

    def __init__(self, response: requests.Response, file: Any) -> None:
        self._response = response
        self._file = file
        self.socket: socket.socket = getattr(file, "_sock", file)
        self.socket.settimeout(None)

    def close(self) -> None:
        self._response.close()
        self._file.close()
