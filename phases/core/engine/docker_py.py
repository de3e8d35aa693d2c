"""Requests through docker-py, the `docker` package: its low-level APIClient, which is a session of `requests`.

docker-py's own connections don't fit in four ways, so each request gets a connection of its own, by `_Adapter`:

- A wait for the engine reports itself, and ends early when the run is ending (`RequestTimer`).
- A signal may interrupt a request. A pool that is used again would keep a lock that nobody releases.
- A command's streams need the socket, and the output that arrived with the head of the response. docker-py loses that
  output (its issue 3332).
- A command's input ends before its output does, over TLS too.
"""

from __future__ import annotations

import io
import os
import socket
import ssl
import threading
from contextlib import contextmanager, suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar, cast
from urllib.parse import urlsplit

import requests
from docker import APIClient
from docker.transport.basehttpadapter import BaseHTTPAdapter
from urllib3.connection import HTTPConnection
from urllib3.connectionpool import HTTPConnectionPool
from urllib3.exceptions import HTTPError
from urllib3.util.ssltransport import SSLTransport

from phases.core.engine.timeouts import POLL_INTERVAL
from phases.core.engine.transport import CHUNK, CONNECT_TIMEOUT, Response

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

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

    connection: _TimedSocket | _TlsTransport

    def __init__(self, route: Route, timer: RequestTimer) -> None:
        super().__init__()
        self._route = route
        self._timer = timer

    def get_connection_with_tls_context(self, *_: Any, **__: Any) -> _Pool:
        url = urlsplit(self._route.url)
        return _Pool(str(url.hostname), url.port, maxsize=1, blocksize=CHUNK, adapter=self)

    def cert_verify(self, *_: Any) -> None:
        """Leave that to the TLS context of the route."""

    def request_url(self, request: requests.PreparedRequest, _proxies: Any) -> str:
        return request.path_url

    def connect(self) -> _TimedSocket | _TlsTransport:
        self.connection = _connect(self._route, self._timer)
        return self.connection


class _Connection(HTTPConnection):
    def __init__(self, *args: Any, adapter: _Adapter, **options: Any) -> None:
        super().__init__(*args, **options)
        self._adapter = adapter

    def connect(self) -> None:
        self.sock = cast("socket.socket", self._adapter.connect())


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TimedSocket(socket.socket):
    """A socket whose reads and writes go on for as long as its request may wait.

    Attributes:
        timer: That of the request, None once the connection is a stream.
        reader: The buffer in which http.client reads the response.
    """

    timer: RequestTimer | None = None
    reader: io.BufferedReader

    def makefile(self, *args: Any, **options: Any) -> Any:
        self.reader = super().makefile(*args, **options)
        return self.reader

    def recv(self, *args: Any) -> bytes:
        return self._retry(lambda: super(_TimedSocket, self).recv(*args))

    def recv_into(self, *args: Any, **options: Any) -> int:
        return self._retry(lambda: super(_TimedSocket, self).recv_into(*args, **options))

    def sendall(self, data: Any, *_: Any) -> None:
        rest = memoryview(data).cast("B")
        try:
            while rest:
                rest = rest[self._retry(lambda: self.send(rest)) :]  # noqa: B023 (the lambda is called at once)
        except ConnectionResetError as error:
            # An engine that refuses a body may not read all of it. Its answer says why, and urllib3 then reads that.
            raise BrokenPipeError from error

    def _retry(self, operation: Callable[[], T]) -> T:
        return self.timer.retry(operation) if self.timer else operation()


class _TlsTransport(SSLTransport):
    """TLS over a socket. It is encrypted in memory, because Python's SSLSocket can't close one direction alone.

    Attributes:
        reader: As of `_TimedSocket`.
    """

    socket: _TimedSocket
    reader: io.BufferedReader

    def makefile(self, *args: Any, **options: Any) -> Any:
        self.reader = cast("io.BufferedReader", super().makefile(*args, **options))
        return self.reader


def _connect(route: Route, timer: RequestTimer) -> _TimedSocket | _TlsTransport:
    url = urlsplit(route.url)
    if route.socket:
        connection = _TimedSocket(socket.AF_UNIX)
    else:
        plain = socket.create_connection((str(url.hostname), url.port or 80), CONNECT_TIMEOUT)
        connection = _TimedSocket(plain.family, plain.type, plain.proto, plain.detach())
    try:
        connection.settimeout(CONNECT_TIMEOUT)
        if route.socket:
            connection.connect(route.socket)
        else:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)  # a command may be silent for hours
        transport = _TlsTransport(connection, route.tls, url.hostname) if route.tls else None
        connection.settimeout(POLL_INTERVAL)
        connection.timer = timer
    except BaseException:
        connection.close()
        raise
    return transport or connection


class DockerPyResponse(Response):
    """A response whose head has arrived."""

    def __init__(self, response: requests.Response, connection: _TimedSocket | _TlsTransport) -> None:
        self._response = response
        self._connection = connection
        self._socket = connection.socket if isinstance(connection, _TlsTransport) else connection
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
        connection = self._connection
        return _TlsStream(connection) if isinstance(connection, _TlsTransport) else Stream(connection)

    def close(self) -> None:
        if stream := self.__dict__.get("connection"):
            stream.close()
        self._response.close()
        self._connection.close()


class Stream:
    """A connection that carries the input and the output of a command.

    Args:
        connection: A blocking connection without a timeout.
    """

    def __init__(self, connection: _TimedSocket | _TlsTransport) -> None:
        self._socket = connection.socket if isinstance(connection, _TlsTransport) else connection
        self._always_readable = io.FileIO(os.devnull)
        self._arrived = self._drain(connection.reader)

    def _drain(self, reader: io.BufferedReader) -> bytes:
        """Return what arrived with the head of the response. It is in buffers, so select doesn't know of it."""
        data = b""
        with self._unblocked(), suppress(OSError):
            while chunk := reader.read1(CHUNK):
                data += chunk
        return data

    @contextmanager
    def _unblocked(self) -> Iterator[None]:
        self._socket.setblocking(False)
        try:
            yield
        finally:
            self._socket.setblocking(True)

    def fileno(self) -> int:
        """Return the descriptor to wait for with select. It may be another after each `receive`."""
        return (self._always_readable if self._arrived else self._socket).fileno()

    def receive(self) -> bytes:
        """Return the bytes that arrive next, b"" at the end."""
        data, self._arrived = self._arrived, b""
        return data or self._receive()

    def _receive(self) -> bytes:
        """Receive. A reset connection counts as ended.

        An engine resets it when it is in a hurry, and when it is killed. The next request tells which.
        """
        try:
            return self._socket.recv(CHUNK)
        except ConnectionError:
            return b""

    def send(self, data: bytes) -> None:
        """Send all data, however long that takes."""
        self._socket.sendall(data)

    def send_some(self, data: bytes) -> int:
        """Send what fits now. Return how many bytes that is. The rest is to be sent next."""
        with self._unblocked():
            try:
                return self._socket.send(data)
            except BlockingIOError:
                return 0

    def end_input(self) -> None:
        """Tell the command that its input has ended. Its output goes on."""
        self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self._always_readable.close()


class _TlsStream(Stream):
    """A stream over TLS."""

    def __init__(self, connection: _TlsTransport) -> None:
        super().__init__(connection)
        self._tls = connection
        self._unsent = b""
        self._unsent_length = 0  # before encryption
        self._is_over = False

    def _receive(self) -> bytes:
        data = self._decrypt()
        while not data and not self._is_over:
            encrypted = super()._receive()
            self._tls.incoming.write(encrypted) if encrypted else self._tls.incoming.write_eof()
            data = self._decrypt()
        return data

    def _decrypt(self) -> bytes:
        """Return all that has arrived, so that the rest is what select waits for."""
        data = b""
        try:
            while chunk := self._tls.sslobj.read(CHUNK):
                data += chunk
        except ssl.SSLWantReadError:
            return data
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            pass
        self._is_over = True
        return data

    def send(self, data: bytes) -> None:
        self._tls.sslobj.write(data)
        self._flush()

    def send_some(self, data: bytes) -> int:
        """Send what fits now. Data that is encrypted counts as sent once all of it is, and comes again until then."""
        if not self._unsent:
            self._unsent_length = self._tls.sslobj.write(data[:CHUNK])
            self._unsent = self._tls.outgoing.read()
        self._unsent = self._unsent[super().send_some(self._unsent) :]
        return 0 if self._unsent else self._unsent_length

    def end_input(self) -> None:
        # This sends the end of our direction. The error means that the other direction goes on.
        with suppress(ssl.SSLWantReadError):
            self._tls.sslobj.unwrap()
        self._flush()

    def _flush(self) -> None:
        unsent, self._unsent = self._unsent + self._tls.outgoing.read(), b""
        self._socket.sendall(unsent)


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
