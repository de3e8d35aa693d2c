"""A connection with TLS, as a plain one: which can be waited for, peeked into and closed on one side, as a command in a
container that is spoken to wants it, and Python's own can't.
"""

from __future__ import annotations

import select
import socket
import ssl
import threading
from contextlib import suppress

from phases.core.api import CHUNK

# Of a socket whose other side is closed altogether, and not just for writing.
_GONE = select.POLLHUP | select.POLLERR


def bridged(line: socket.socket, context: ssl.SSLContext, host: str) -> socket.socket:
    """A plain socket that stands for what is said over a line, which is closed with it. Raises OSError for whom
    `context` doesn't trust to be `host`.
    """
    safe = _Safe(context, host)
    safe.shake_hands(line)
    ours, theirs = socket.socketpair()
    for end in (line, theirs):
        end.setblocking(False)
    threading.Thread(target=_Bridge(line, safe, theirs).carry, daemon=True).start()
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
        self._is_asked = True  # whether our side may still say something

    def carry(self) -> None:
        with self._line, self._plain, suppress(OSError):
            while self._down or not self._safe.is_over:
                may = self._wait()
                if may[self._line] & select.POLLIN:
                    self._down = self._safe.hear(_come(self._line))
                if may[self._plain] & select.POLLIN:
                    data = _come(self._plain)
                    self._is_asked = bool(data)
                    self._safe.say(data)
                self._up += self._safe.sent()
                self._down = _rest(self._plain, self._down)
                self._up = _rest(self._line, self._up)

    def _wait(self) -> dict[socket.socket, int]:
        """Until something may be carried, and what. Raises ConnectionError where our side is gone."""
        wanted = {
            self._line: (0 if self._down or self._safe.is_over else select.POLLIN)
            | (select.POLLOUT if self._up else 0),
            self._plain: (select.POLLIN if self._is_asked and not self._up else 0)
            | (select.POLLOUT if self._down else 0),
        }
        poll = select.poll()
        for end, events in wanted.items():
            if events or end is self._plain:
                poll.register(end, events)
        found = dict(poll.poll())
        if found.get(self._plain.fileno(), 0) & _GONE and not found[self._plain.fileno()] & select.POLLIN:
            raise ConnectionError("nobody listens")
        return {end: found.get(end.fileno(), 0) for end in wanted}


def _come(end: socket.socket) -> bytes:
    """b"" at its end."""
    try:
        return end.recv(CHUNK)
    except ConnectionError:
        return b""


def _rest(end: socket.socket, data: bytes) -> bytes:
    """What is left of it once as much is sent as may be. Who doesn't read any more may have said why."""
    try:
        return data[end.send(data) :] if data else b""
    except BlockingIOError:
        return data
    except ConnectionError:
        return b""
