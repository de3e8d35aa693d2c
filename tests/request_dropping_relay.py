"""A way to this machine's engine on which chosen requests are lost: they are read, and never answered."""

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

# Of the API, in the path of a request.
_VERSION = re.compile(r"(?<= )/v[0-9.]+(?=/)")


class RequestDroppingRelay:
    """Use it in a `with`. host: as DOCKER_HOST says it; pattern: of the beginning of the requests that are lost, as
    `POST /commit`.
    """

    def __init__(self, pattern: str) -> None:
        self._pattern = re.compile(pattern)
        self._folder = Path(tempfile.mkdtemp(prefix="habtest-", dir="/tmp"))  # short: a socket's path has an end
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(self._folder / "s"))
        self._server.listen(50)
        self.host = f"unix://{self._folder}/s"
        self.swallowed = threading.Event()
        #: Lost ones are answered from then on.
        self.healed = False
        self._lines: list[socket.socket] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        for line in self._lines:
            with contextlib.suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)
            line.close()
        shutil.rmtree(self._folder)

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near = self._server.accept()[0]
                self._lines.append(near)
                threading.Thread(target=self._pass_on, args=(near,), daemon=True).start()

    def _pass_on(self, near: socket.socket) -> None:
        with contextlib.suppress(OSError):
            head = near.recv(65536)
            if self._is_lost(head):
                self.swallowed.set()
                return
            far = socket.socket(socket.AF_UNIX)
            self._lines.append(far)
            far.connect(connect.socket_path())
            far.sendall(head)
            threading.Thread(target=ssh_agent.copy, args=(far, near), daemon=True).start()
            ssh_agent.copy(near, far)

    def _is_lost(self, head: bytes) -> bool:
        return not self.healed and self._pattern.match(_VERSION.sub("", head.decode("latin-1"), count=1)) is not None
