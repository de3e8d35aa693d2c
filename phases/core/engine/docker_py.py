"""Requests through docker-py, the `docker` package: its low-level APIClient, which is a session of `requests`.

docker-py's own connections don't fit in four ways, so each request gets a connection of its own, by `_Adapter`:

- A wait for the engine reports itself, and ends early when the run is ending (`RequestTimer`).
- A signal may interrupt a request. A pool that is used again would keep a lock that nobody releases.
- A command's streams need the socket, and the output that arrived with the head of the response. docker-py loses that
  output (its issue 3332).
- A command's input ends before its output does, over TLS too.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar, cast
from urllib.parse import urlsplit

import requests
from docker import APIClient
from docker.transport.basehttpadapter import BaseHTTPAdapter
from urllib3.connection import HTTPConnection
from urllib3.connectionpool import HTTPConnectionPool
from urllib3.exceptions import HTTPError

from phases.core.engine.connections import TlsTransport, connect, stream_of
from phases.core.engine.timeouts import POLL_INTERVAL
from phases.core.engine.transport import CHUNK, CONNECT_TIMEOUT, Response

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator, Mapping

    from phases.core.engine.connections import Stream, TimedSocket
    from phases.core.engine.timeouts import RequestTimer
    from phases.core.engine.transport import Request, Route

T = TypeVar("T")


class DockerPy:
    """Sends requests to one engine, from any thread.

    Args:
        route: How the engine is reached.
        version: An API version that it serves. Without one, docker-py would ask the engine.
    """

    def __init__(self, route: Route, version: str) -> None:
        self._route = route
        self._client = _Client(route, version)

    def send(self, request: Request) -> DockerPyResponse:
        """Send a request and wait for the head of the response.

        Raises:
            OSError: The request can't be sent, or there is no response.
        """
        adapter = _Adapter(self._route, request.timer)
        with _as_os_error():
            response = self._client.request_through(adapter, self._route.url, request)
        return DockerPyResponse(response, adapter.connection)


class _Client(APIClient):
    """docker's client, with an adapter of its own for each request."""

    def __init__(self, route: Route, version: str) -> None:
        self._current = threading.local()
        try:
            super().__init__("http+unix:///engine" if route.socket else route.url, version)
        except Exception:  # noqa: BLE001 (docker-py may raise anything for a config.json that it can't read)
            # It was initialised as a session before. Requests need nothing of config.json.
            self.headers["User-Agent"] = "docker-sdk-python"
        self.trust_env = False  # REQUESTS_CA_BUNDLE and HTTP_PROXY are about other servers

    def request_through(self, adapter: _Adapter, url: str, request: Request) -> requests.Response:
        self._current.adapter = adapter
        return self.request(
            request.method,
            url + request.path,
            data=request.body or None,
            headers={**request.headers, "Accept-Encoding": "identity"},
            stream=True,
            allow_redirects=False,
            timeout=(CONNECT_TIMEOUT, POLL_INTERVAL),
        )

    def get_adapter(self, url: str) -> _Adapter:  # noqa: ARG002 (the method of requests)
        return self._current.adapter  # type: ignore[no-any-return]


class _Adapter(BaseHTTPAdapter):
    """Sends one request, over a connection of its own.

    Attributes:
        connection: The connection, once it is open.
    """

    connection: TimedSocket | TlsTransport

    def __init__(self, route: Route, timer: RequestTimer) -> None:
        super().__init__()
        self._route = route
        self._timer = timer

    def get_connection_with_tls_context(self, *_: Any, **__: Any) -> _Pool:
        url = urlsplit(self._route.url)
        return _Pool(str(url.hostname), url.port, maxsize=1, blocksize=CHUNK, adapter=self)

    def cert_verify(self, *_: Any) -> None:
        """Do nothing, since the TLS context of the route verifies certificates."""

    def request_url(self, request: requests.PreparedRequest, _proxies: Any) -> str:
        return request.path_url

    def connect(self) -> TimedSocket | TlsTransport:
        self.connection = connect(self._route, self._timer)
        return self.connection


class _EngineConnection(HTTPConnection):
    def __init__(self, *args: Any, adapter: _Adapter, **options: Any) -> None:
        super().__init__(*args, **options)
        self._adapter = adapter

    def connect(self) -> None:
        self.sock = cast("socket.socket", self._adapter.connect())


class _Pool(HTTPConnectionPool):
    ConnectionCls = _EngineConnection


class DockerPyResponse(Response):
    """A response whose head has arrived."""

    def __init__(self, response: requests.Response, connection: TimedSocket | TlsTransport) -> None:
        self._response = response
        self._connection = connection
        self._socket = connection.socket if isinstance(connection, TlsTransport) else connection
        self._headers = {name.lower(): value for name, value in response.headers.items()}

    @property
    def status(self) -> int:
        return self._response.status_code

    @property
    def headers(self) -> Mapping[str, str]:
        return self._headers

    def wait_forever(self) -> None:
        self._socket.timer = None
        self._socket.settimeout(None)

    def chunks(self) -> Iterator[bytes]:
        with _as_os_error():
            while data := self._response.raw.read1(CHUNK):
                yield data

    @cached_property
    def connection(self) -> Stream:
        """The connection, once the engine has made it a stream of bytes."""
        self.wait_forever()
        return stream_of(self._connection)

    def close(self) -> None:
        if stream := self.__dict__.get("connection"):
            stream.close()
        self._response.close()
        self._connection.close()


@contextmanager
def _as_os_error() -> Iterator[None]:
    """Raise the OSError below an error of requests or urllib3."""
    try:
        yield
    except (requests.RequestException, HTTPError) as error:
        raise next(_os_errors(error), ConnectionError(str(error))) from error


def _os_errors(error: BaseException) -> Iterator[OSError]:
    """Yield the errors of the operating system and of TLS that led to an error. Some are only arguments of another."""
    if isinstance(error, OSError) and not isinstance(error, requests.RequestException):
        yield error
        return
    for cause in (error.__cause__, *error.args, error.__context__):
        if isinstance(cause, BaseException):
            yield from _os_errors(cause)
