"""Ports of this machine that lead into a habitat while somebody logs in there: the browser ends up at one of them.

An agent's login waits on a port of its own, of 127.0.0.1 in the habitat, for the browser's last page. The browser is on
this machine. So the same port of this machine's 127.0.0.1 leads there, over a command in the habitat.
"""

from __future__ import annotations

import os
import select
import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from phases.core.container import timed_exec
from phases.core.errors import HabitatError
from phases.core.files.shell_program import ShellProgram
from phases.core.runtime.session.hang_up import VARIABLE

if TYPE_CHECKING:
    from phases.core.engine.protocol import Piped
    from phases.core.runtime.session.session import Session

_CONNECT = ShellProgram(__file__, "connect.sh")

# Ports below are those of system services, and no login uses one.
_FIRST_PORT = 1024

# How many ports one login may have, and connections at once.
_MOST_PORTS, _MOST_CONNECTIONS = 3, 8

# What the browser sends first. Nothing else on this machine has business in the habitat.
_REQUEST = b"GET /"

# Seconds that a client may take to send that, and that a connection may take to end.
_TIMEOUT, _END_TIMEOUT = 10, 2.0

# Seconds that the command in the habitat may take to end by itself.
_SETTLING = 0.5


class CallbackPorts:
    """The ports of one login. It is a companion of its session (see `session.Companion`).

    Args:
        session: The session.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._listeners: dict[int, socket.socket] = {}
        self._threads: list[threading.Thread] = []
        self._free = threading.BoundedSemaphore(_MOST_CONNECTIONS)
        self._woken, self._waker = socket.socketpair()

    def start(self) -> None: ...

    def open(self, port: int) -> str:
        """Let a port lead into the habitat. Return why it doesn't, "" if it does."""
        if port in self._listeners:
            return ""
        if port < _FIRST_PORT or len(self._listeners) == _MOST_PORTS:
            return "it is no port for a login"
        try:
            listener = socket.create_server(("127.0.0.1", port))
        except OSError as error:
            return os.strerror(error.errno) if error.errno else str(error)
        self._listeners[port] = listener
        self._run(self._accept, listener, port)
        return ""

    def close(self) -> None:
        """Close the ports and end all connections."""
        self._waker.close()
        for thread in self._threads:
            thread.join(_END_TIMEOUT)
        for listener in self._listeners.values():
            listener.close()
        left = sum(thread.is_alive() for thread in self._threads)
        self._session.own_execs += left  # these end with the container
        if not left:
            self._woken.close()

    def _run(self, target: object, *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket, port: int) -> None:
        while True:
            ready, _, _ = select.select([listener, self._woken], [], [])
            if self._woken in ready:
                return
            with suppress(OSError):
                client, _ = listener.accept()
                if self._free.acquire(blocking=False):
                    self._run(self._serve, client, port)
                else:
                    client.close()

    def _serve(self, client: socket.socket, port: int) -> None:
        """Connect a browser with the server in the habitat."""
        try:
            with client, suppress(OSError, HabitatError):
                client.settimeout(_TIMEOUT)
                beginning = client.recv(65536)
                if beginning.startswith(_REQUEST):
                    self._exchange(client, beginning, port)
        finally:
            self._free.release()

    def _exchange(self, client: socket.socket, beginning: bytes, port: int) -> None:
        session = self._session
        argv = ("/bin/sh", "-c", "--", _CONNECT.text, "sh", str(port))
        env = {VARIABLE: session.guard.session_id} if session.guard else {}
        process = session.project.engine.exec_piped(session.container.id, argv, user=session.user, workdir="/", env=env)
        try:
            self._copy(client, process, beginning)
        finally:
            process.end_input()
            if timed_exec.wait_for_end(process, lambda *_: None, _SETTLING) or timed_exec.kill_and_wait(
                process, lambda *_: None
            ):
                process.exit_code()  # the engine has noticed the end, and doesn't count the command any more
            process.close()

    def _copy(self, client: socket.socket, process: Piped, waiting: bytes) -> None:
        """Copy both ways until the server ends, or the login does."""
        more = True
        while True:
            sources = [process.fileno(), self._woken.fileno(), *([client.fileno()] if more and not waiting else [])]
            ready, free, _ = select.select(sources, [process.fileno()] if waiting else [], [])
            if self._woken.fileno() in ready:
                return
            if free:
                waiting = waiting[process.write(waiting) :]
            if client.fileno() in ready and not (waiting := client.recv(65536)):
                more = False
                process.end_input()
            if process.fileno() in ready:
                if (chunks := process.read()) is None:
                    return
                client.sendall(b"".join(data for data, is_err in chunks if not is_err))
