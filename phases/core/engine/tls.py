"""A connection with TLS, as a plain one: which can be waited for, peeked into and closed on one side, as a command in a
container that is spoken to wants it, and Python's own can't.
"""

from __future__ import annotations

import select
import socket
import ssl
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from phases.core.engine.http import CHUNK, received

if TYPE_CHECKING:
    from collections.abc import Callable

# Of a socket whose other side is closed altogether, and not just for writing.
_GONE = select.POLLHUP | select.POLLERR


def bridged(
    line: socket.socket, context: ssl.SSLContext, host: str, on_error: Callable[[OSError], None] = lambda _: None
) -> socket.socket:
    """A plain socket that stands for what is said over a line, which is closed with it. Raises OSError for whom
    `context` doesn't trust to be `host`; on_error: is told, before that is closed, if it ends otherwise than in order.
    """
    safe = _Safe(context, host)
    safe.shake_hands(line)
    ours, theirs = socket.socketpair()
    for end in (line, theirs):
        end.setblocking(False)
    threading.Thread(target=_Bridge(line, safe, theirs).carry, args=(on_error,), daemon=True).start()
    return ours


class _Safe:
    """TLS, between what is said and what is sent. is_over: nothing will come any more."""

    def __init__(self, context: ssl.SSLContext, host: str) -> None:
        self._arriving, self._leaving = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._arriving, self._leaving, server_hostname=host)
        self.is_over = False

    def shake_hands(self, line: socket.socket) -> None:
        done = False
        while not done:
            try:
                self._tls.do_handshake()
                done = True
            except ssl.SSLWantReadError:
                pass
            finally:
                line.sendall(self.sent())  # also why not
            if not done:
                data = line.recv(CHUNK)
                if not data:
                    raise ConnectionError("nobody shakes hands")
                self._arriving.write(data)

    def sent(self) -> bytes:
        """What is to be sent."""
        return self._leaving.read()

    def say(self, data: bytes) -> None:
        """b"": nothing more."""
        if data:
            self._tls.write(data)
        else:
            # An end of one direction; it would wait for that of the other, of which nothing has arrived.
            with suppress(ssl.SSLWantReadError):
                self._tls.unwrap()

    def hear(self, data: bytes) -> bytes:
        """What is said by what has arrived; b"" for its end, which may have been said before."""
        self._arriving.write(data)
        self.is_over = not data
        said = b""
        try:
            while piece := self._tls.read(CHUNK):
                said += piece
        except ssl.SSLWantReadError:
            return said
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            pass
        self.is_over = True
        return said


class _Bridge:
    """Carries what comes from either side to the other. Who doesn't read isn't sent more."""

    def __init__(self, line: socket.socket, safe: _Safe, plain: socket.socket) -> None:
        self._line = line
        self._safe = safe
        self._plain = plain
        self._up = self._down = b""  # on its way to the engine, and from it
        self._asks = True  # whether our side may still say something

    def carry(self, on_error: Callable[[OSError], None]) -> None:
        with self._line, self._plain:
            try:
                while self._down or not self._safe.is_over:
                    self._carry_some()
            except OSError as error:
                on_error(error)

    def _carry_some(self) -> None:
        is_told, is_asked = self._wait()
        if is_told:
            self._down = self._safe.hear(received(self._line))
        if is_asked:
            data = received(self._plain)
            self._asks = bool(data)
            self._safe.say(data)
        self._up += self._safe.sent()
        self._down = _rest(self._plain, self._down)
        self._up = _rest(self._line, self._up)

    def _wait(self) -> tuple[bool, bool]:
        """Until something may be carried. Returns whether the engine says something, and whether our side does. Raises
        ConnectionError where that is gone.
        """
        tells, asks = not self._down and not self._safe.is_over, not self._up and self._asks
        poll = select.poll()
        poll.register(self._plain, _events(asks, self._down))
        if tells or self._up:
            poll.register(self._line, _events(tells, self._up))
        found = dict(poll.poll())
        line, plain = found.get(self._line.fileno(), 0), found.get(self._plain.fileno(), 0)
        if plain & _GONE and not plain & select.POLLIN:
            raise ConnectionError("nobody listens")
        return tells and bool(line & (select.POLLIN | _GONE)), bool(plain & select.POLLIN)


def _events(reads: bool, rest: bytes) -> int:
    """What to wait for, of a side that is read, and that `rest` is to be sent to."""
    return (select.POLLIN if reads else 0) | (select.POLLOUT if rest else 0)


def _rest(end: socket.socket, data: bytes) -> bytes:
    """What is left of it once as much is sent as may be. Who doesn't read any more may have said why."""
    try:
        return data[end.send(data) :] if data else b""
    except BlockingIOError:
        return data
    except ConnectionError:
        return b""
