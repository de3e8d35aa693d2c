"""HTTP requests to an engine: the few of a cached run directly (`fast_path`), all others by docker-py (`docker_py`)."""

from __future__ import annotations

import re
import threading
from functools import cached_property
from typing import IO, TYPE_CHECKING

from phases.core.engine import fast_path
from phases.core.engine.timeouts import ANSWER_TIMEOUT, RequestTimer, ResponseTimeout
from phases.core.engine.transport import JSON, Request

if TYPE_CHECKING:
    from collections.abc import Mapping

    from phases.core.engine.docker_py import DockerPy, DockerPyResponse
    from phases.core.engine.fast_path import FastResponse
    from phases.core.engine.transport import Response, Route

#: The API version of the first request to an engine. Docker 20.10 to 28 and Podman 4 serve it.
FIRST_VERSION = "1.41"

# The newest API version that requests use: that of Docker 28.
_NEWEST_VERSION = (1, 51)


def negotiate(newest: str) -> str:
    """Return the API version for requests to an engine.

    Args:
        newest: The newest version that the engine serves, as its answers say.
    """
    if not re.fullmatch(r"[0-9]+\.[0-9]+", newest, re.ASCII):
        return FIRST_VERSION
    major, _, minor = newest.partition(".")
    return ".".join(map(str, min((int(major), int(minor)), _NEWEST_VERSION)))


class HttpClient:
    """Sends requests to one engine.

    Args:
        route: How the engine is reached.
        timeout: Seconds that it may be silent.

    Attributes:
        is_podman: Whether it is Podman.
        version: The API version in the paths of requests.
    """

    def __init__(self, route: Route, timeout: float = ANSWER_TIMEOUT) -> None:
        self.route = route
        self.timeout = ResponseTimeout(timeout)
        self.is_podman = False
        self.version = FIRST_VERSION
        self._loading = threading.Lock()

    def recognize(self, response: Response) -> None:
        """Note what an answer says about the engine: whether it is Podman, and which API version to use."""
        self.is_podman = response.is_podman
        self.version = negotiate(response.headers.get("api-version", ""))

    def send(
        self,
        method: str,
        path: str,
        body: bytes | IO[bytes] = b"",
        content_type: str = JSON,
        *,
        headers: Mapping[str, str] | None = None,
        version: str | None = None,
        action: str = "",
        expected: float = 0,
    ) -> Response:
        """Send a request.

        Args:
            method: The HTTP method.
            path: The path with its query, all quoted, without the API version.
            body: The body, bytes or a file that can seek.
            content_type: The type of the body.
            headers: Further headers.
            version: The version of the API that the path belongs to. None is the negotiated one, "" is none.
            action: What the request does, for a person who waits.
            expected: The seconds that it normally takes.

        Returns:
            The response, which the caller closes. It may not have arrived yet.

        Raises:
            OSError: The request can't be sent.
        """
        if self.route.socket and fast_path.can_send(method, path):
            return self.send_fast(method, path, action, version, expected)
        timer = RequestTimer(self.timeout, action, expected)
        headers = {**(headers or {}), **({"Content-Type": content_type} if body else {})}
        return self._docker_py.send(Request(method, self._versioned(path, version), timer, headers, body))

    def send_fast(
        self, method: str, path: str, action: str = "", version: str | None = None, expected: float = 0
    ) -> FastResponse:
        """Send one of the requests of a cached run over a Unix socket. The arguments are those of `send`."""
        timer = RequestTimer(self.timeout, action, expected)
        response = fast_path.send(self.route.socket, method, self._versioned(path, version), timer)
        if method == "POST":
            # A container is being started, which takes longer than importing docker-py. What follows needs docker-py.
            threading.Thread(target=lambda: self._docker_py, daemon=True).start()
        return response

    def upgrade(self, path: str, body: bytes, action: str) -> DockerPyResponse:
        """Send a POST request that asks the engine to make the connection a stream of bytes.

        Raises:
            OSError: The request can't be sent.
        """
        headers = {"Content-Type": JSON, "Connection": "Upgrade", "Upgrade": "tcp"}
        timer = RequestTimer(self.timeout, action)
        return self._docker_py.send(Request("POST", self._versioned(path), timer, headers, body))

    def _versioned(self, path: str, version: str | None = None) -> str:
        version = self.version if version is None else version
        return f"/v{version}{path}" if version else path

    @cached_property
    def _docker_py(self) -> DockerPy:
        """The client that imports docker-py when it is first used."""
        from phases.core.engine.docker_py import DockerPy

        with self._loading:
            return self.__dict__.get("_docker_py") or DockerPy(self.route, FIRST_VERSION)
