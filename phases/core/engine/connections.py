"""Connections to an engine for docker-py, and the streams of commands that they become."""

from __future__ import annotations

import io
import os
import socket
import ssl
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar, cast
from urllib.parse import urlsplit

from urllib3.util.ssltransport import SSLTransport

from phases.core.engine.timeouts import POLL_INTERVAL
from phases.core.engine.transport import CHUNK, CONNECT_TIMEOUT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from phases.core.engine.timeouts import RequestTimer
    from phases.core.engine.transport import Route

T = TypeVar("T")


class TimedSocket(socket.socket):
    """A socket that retries reads and writes for as long as its request may wait.

    Attributes:
        timer: The timer of the request, None once the connection is a stream.
        reader: The buffer in which http.client reads the response.
    """

    timer: RequestTimer | None = None
    reader: io.BufferedReader

    def makefile(self, *args: Any, **options: Any) -> Any:
        self.reader = super().makefile(*args, **options)
        return self.reader

    def recv(self, *args: Any) -> bytes:
        return self._timed_receive(lambda: super(TimedSocket, self).recv(*args))

    def recv_into(self, *args: Any, **options: Any) -> int:
        return self._timed_receive(lambda: super(TimedSocket, self).recv_into(*args, **options))

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

    def _timed_receive(self, operation: Callable[[], T]) -> T:
        return self.timer.receive(operation) if self.timer else operation()


class TlsTransport(SSLTransport):
    """TLS over a socket. It is encrypted in memory, because Python's SSLSocket can't close one direction alone.

    Attributes:
        reader: As in `TimedSocket`.
    """

    socket: TimedSocket
    reader: io.BufferedReader

    def makefile(self, *args: Any, **options: Any) -> Any:
        self.reader = cast("io.BufferedReader", super().makefile(*args, **options))
        return self.reader


def connect(route: Route, timer: RequestTimer) -> TimedSocket | TlsTransport:
    url = urlsplit(route.url)
    if route.socket:
        connection = TimedSocket(socket.AF_UNIX)
    else:
        plain = socket.create_connection((str(url.hostname), url.port or 80), CONNECT_TIMEOUT)
        connection = TimedSocket(plain.family, plain.type, plain.proto, plain.detach())
    try:
        connection.settimeout(CONNECT_TIMEOUT)
        if route.socket:
            connection.connect(route.socket)
        else:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)  # a command may be silent for hours
        transport = TlsTransport(connection, route.tls, url.hostname) if route.tls else None
        connection.settimeout(POLL_INTERVAL)
        connection.timer = timer
    except BaseException:
        connection.close()
        raise
    return transport or connection


def stream_of(connection: TimedSocket | TlsTransport) -> Stream:
    """Return the stream that a connection has become. It waits for any time from now on."""
    return TlsStream(connection) if isinstance(connection, TlsTransport) else Stream(connection)


class Stream:
    """A connection that carries the input and the output of a command.

    Args:
        connection: A blocking connection without a timeout.
    """

    def __init__(self, connection: TimedSocket | TlsTransport) -> None:
        self._socket = connection.socket if isinstance(connection, TlsTransport) else connection
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

        An engine resets a connection when it drops it at once, and when it is killed. The next request shows which.
        """
        try:
            return self._socket.recv(CHUNK)
        except ConnectionError:
            return b""

    def send(self, data: bytes) -> None:
        """Send all data, however long that takes."""
        self._socket.sendall(data)

    def send_some(self, data: bytes) -> int:
        """Send what fits now. Return how many bytes that is. Call this again with the rest."""
        with self._unblocked():
            try:
                return self._socket.send(data)
            except BlockingIOError:
                return 0

    def end_input(self) -> None:
        """Tell the command that its input has ended. Its output continues."""
        self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self._always_readable.close()


class TlsStream(Stream):
    """A stream over TLS."""

    def __init__(self, connection: TlsTransport) -> None:
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
        """Send what fits now. While this returns 0, call it again with the same data, which is already encrypted."""
        if not self._unsent:
            self._unsent_length = self._tls.sslobj.write(data[:CHUNK])
            self._unsent = self._tls.outgoing.read()
        self._unsent = self._unsent[super().send_some(self._unsent) :]
        return 0 if self._unsent else self._unsent_length

    def end_input(self) -> None:
        # This ends the input. The error means that the output continues.
        with suppress(ssl.SSLWantReadError):
            self._tls.sslobj.unwrap()
        self._flush()

    def _flush(self) -> None:
        unsent, self._unsent = self._unsent + self._tls.outgoing.read(), b""
        self._socket.sendall(unsent)
