"""A way to this machine's engine that can be cut."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Self

from phases.core.engine import connect
from phases.core.secrets import ssh_agent


class Relay:
    """Use it in a `with`. host: as DOCKER_HOST says it."""

    def __init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self.host = f"tcp://127.0.0.1:{self._server.getsockname()[1]}"
        self._lines: list[socket.socket] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self.cut()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near = self._server.accept()[0]
                far = socket.socket(socket.AF_UNIX)
                far.connect(connect.socket_path())
                self._lines += [near, far]
                for one, other in ((near, far), (far, near)):
                    threading.Thread(target=ssh_agent.copy, args=(one, other), daemon=True).start()

    def cut(self) -> None:
        """End all that goes through it. Who comes next is let through."""
        lines, self._lines = self._lines, []
        for line in lines:
            with contextlib.suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)
        for line in lines:
            line.close()
