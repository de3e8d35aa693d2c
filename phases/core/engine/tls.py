"""TLS behind a plain socket.

The stream of a command needs a socket that `select` can wait for, that can be peeked into, and that can be closed for
writing alone. Python's SSLSocket can do none of these, so a thread encrypts and decrypts between two plain sockets.
"""

from __future__ import annotations

import select
import socket
import ssl
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from phases.core.engine.http import CHUNK, receive

if TYPE_CHECKING:
    from collections.abc import Callable

# The events of a socket whose other end is closed for reading and writing.
_CLOSED = select.POLLHUP | select.POLLERR


def bridge(
    connection: socket.socket, context: ssl.SSLContext, host: str, on_error: Callable[[OSError], None] = lambda _: None
) -> socket.socket:
    """Return a plain socket for what goes over `connection` with TLS.

    Args:
        connection: A connected socket, which is closed when the returned one is.
        context: The certificates to use and to trust.
        host: The name that the other side's certificate must have.
        on_error: Is called with the error that ends the connection, before the returned socket is closed.

    Raises:
        OSError: The handshake fails.
    """
    session = _TlsSession(context, host)
    session.handshake(connection)
    ours, theirs = socket.socketpair()
    for end in (connection, theirs):
        end.setblocking(False)
    threading.Thread(target=_Bridge(connection, session, theirs).run, args=(on_error,), daemon=True).start()
    return ours


class _TlsSession:
    """Encrypts and decrypts in memory.

    Attributes:
        is_over: Whether nothing more will arrive.
    """

    def __init__(self, context: ssl.SSLContext, host: str) -> None:
        self._encrypted_in, self._encrypted_out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._encrypted_in, self._encrypted_out, server_hostname=host)
        self.is_over = False

    def handshake(self, connection: socket.socket) -> None:
        done = False
        while not done:
            try:
                self._tls.do_handshake()
                done = True
            except ssl.SSLWantReadError:
                pass
            finally:
                connection.sendall(self.take_encrypted())  # also the alert that says why it failed
            if not done:
                data = connection.recv(CHUNK)
                if not data:
                    raise ConnectionError("the connection was closed before TLS had begun")
                self._encrypted_in.write(data)

    def take_encrypted(self) -> bytes:
        """Return the encrypted bytes to send."""
        return self._encrypted_out.read()

    def encrypt(self, data: bytes) -> None:
        """Encrypt data that is to be sent. b"" ends it."""
        if data:
            self._tls.write(data)
        else:
            # This sends the end of our direction. The error means that the other direction goes on.
            with suppress(ssl.SSLWantReadError):
                self._tls.unwrap()

    def decrypt(self, data: bytes) -> bytes:
        """Return what arrived. data: the encrypted bytes, b"" at the end of the connection, which may come twice."""
        self._encrypted_in.write(data)
        self.is_over = not data
        plain = b""
        try:
            while piece := self._tls.read(CHUNK):
                plain += piece
        except ssl.SSLWantReadError:
            return plain
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            pass
        self.is_over = True
        return plain


class _Bridge:
    """Passes data between the engine and the plain socket. A side that doesn't read is not sent more."""

    def __init__(self, engine: socket.socket, session: _TlsSession, plain: socket.socket) -> None:
        self._engine = engine
        self._session = session
        self._plain = plain
        self._to_engine = self._from_engine = b""  # what could not be sent yet
        self._input_open = True  # whether the plain socket may still give data

    def run(self, on_error: Callable[[OSError], None]) -> None:
        with self._engine, self._plain:
            try:
                while self._from_engine or not self._session.is_over:
                    self._pass_some()
            except OSError as error:
                on_error(error)

    def _pass_some(self) -> None:
        engine_readable, plain_readable = self._wait()
        if engine_readable:
            self._from_engine = self._session.decrypt(receive(self._engine))
        if plain_readable:
            data = receive(self._plain)
            self._input_open = bool(data)
            self._session.encrypt(data)
        self._to_engine += self._session.take_encrypted()
        self._from_engine = _send(self._plain, self._from_engine)
        self._to_engine = _send(self._engine, self._to_engine)

    def _wait(self) -> tuple[bool, bool]:
        """Wait until data can be passed on. Return whether the engine and the plain socket are to be read.

        Raises:
            ConnectionError: The plain socket was closed.
        """
        read_engine = not self._from_engine and not self._session.is_over
        read_plain = not self._to_engine and self._input_open
        poll = select.poll()
        poll.register(self._plain, _events(read_plain, self._from_engine))
        if read_engine or self._to_engine:
            poll.register(self._engine, _events(read_engine, self._to_engine))
        events = dict(poll.poll())
        engine, plain = events.get(self._engine.fileno(), 0), events.get(self._plain.fileno(), 0)
        if plain & _CLOSED and not plain & select.POLLIN:
            raise ConnectionError("the plain socket was closed")
        return read_engine and bool(engine & (select.POLLIN | _CLOSED)), bool(plain & select.POLLIN)


def _events(reads: bool, unsent: bytes) -> int:
    """Return the events to wait for on a socket that may be read, and that `unsent` is to be sent to."""
    return (select.POLLIN if reads else 0) | (select.POLLOUT if unsent else 0)


def _send(end: socket.socket, data: bytes) -> bytes:
    """Send as much as fits. Return the rest, none if the other side no longer reads: it may have answered why."""
    try:
        return data[end.send(data) :] if data else b""
    except BlockingIOError:
        return data
    except ConnectionError:
        return b""
