"""Relays to this machine's engine: one that can be cut, and one that drops chosen requests."""

from __future__ import annotations

import contextlib
import re
import shutil
import socket
import tempfile
import threading
from pathlib import Path
from typing import Self

from phases.core.engine import connect
from phases.core.secrets import ssh_agent

# The version of the API in the path of a request.
_VERSION = re.compile(r"(?<= )/v[0-9.]+(?=/)")


class Relay:
    """A relay on a TCP port. Use it in a `with`. host: its address as DOCKER_HOST says it."""

    def __init__(self) -> None:
        self._server, self.host = self._listen()
        self._sockets: list[socket.socket] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self.cut()

    def _listen(self) -> tuple[socket.socket, str]:
        server = socket.create_server(("127.0.0.1", 0))
        return server, f"tcp://127.0.0.1:{server.getsockname()[1]}"

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client = self._server.accept()[0]
                self._sockets.append(client)
                threading.Thread(target=self._relay, args=(client,), daemon=True).start()

    def _relay(self, client: socket.socket, head: bytes = b"") -> None:
        """Connect a client to the engine. head: what was read of the client already."""
        with contextlib.suppress(OSError):
            engine = socket.socket(socket.AF_UNIX)
            self._sockets.append(engine)
            engine.connect(connect.socket_path())
            engine.sendall(head)
            threading.Thread(target=ssh_agent.copy, args=(engine, client), daemon=True).start()
            ssh_agent.copy(client, engine)

    def cut(self) -> None:
        """End all connections. Later ones are relayed."""
        sockets, self._sockets = self._sockets, []
        for end in sockets:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        for end in sockets:
            end.close()


class RequestDroppingRelay(Relay):
    """A relay on a Unix socket that reads some requests and never answers them.

    pattern: of the beginning of a dropped request, as `POST /commit`. dropped: set once there was one.
    """

    def __init__(self, pattern: str) -> None:
        self._pattern = re.compile(pattern)
        self._folder = Path(tempfile.mkdtemp(prefix="habtest-", dir="/tmp"))  # short: a socket's path has a limit
        self.dropped = threading.Event()
        super().__init__()

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        shutil.rmtree(self._folder)

    def _listen(self) -> tuple[socket.socket, str]:
        server = socket.socket(socket.AF_UNIX)
        server.bind(str(self._folder / "s"))
        server.listen(50)
        return server, f"unix://{self._folder}/s"

    def _relay(self, client: socket.socket, head: bytes = b"") -> None:
        with contextlib.suppress(OSError):
            head = client.recv(65536)
            if self._pattern.match(_VERSION.sub("", head.decode("latin-1"), count=1)):
                self.dropped.set()
                return
            super()._relay(client, head)
