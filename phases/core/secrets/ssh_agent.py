"""The host's SSH agent, lent to a container for as long as a phase takes.

The agent's own socket is for its user alone, and who that is in the container has another number.
So a socket of ours stands between: anybody in the container can use it, and nobody else on the host
gets to it. Keys stay in the agent.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import socketserver
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from phases.core.engine.protocol import Bind
from phases.core.errors import SecretError
from phases.core.files import safe_open
from phases.core.model import SECRETS_FOLDER, Value

if TYPE_CHECKING:
    from phases.core.errors import Origin

# What is left of it in an image is this folder, empty: an engine makes the place of a mount for good.
_FOLDER = "/run/ssh-agent"
_LENT, _SOCKET = "lent", "socket"
_KNOWN_HOSTS = ".known_hosts"

# Below the folder of a habitat's state: what a killed run left there is found again.
_PLACE = "ssh-agent"

# Bytes of a file of host keys; the tmpfs has room for some of them.
_LARGEST = 10 << 20

# Keys of hosts are checked, and nobody is there to be asked.
_SSH = f"ssh -o BatchMode=yes -o StrictHostKeyChecking=yes -o UserKnownHostsFile={SECRETS_FOLDER}/{_KNOWN_HOSTS}"

# Seconds that closing may take.
_POLL = 0.05

#: For commands that may use the agent.
ENV = {"SSH_AUTH_SOCK": f"{_FOLDER}/{_SOCKET}", "GIT_SSH_COMMAND": _SSH}


class AgentRelay:
    """Lends the agent at SSH_AUTH_SOCK until `close`. Raises SecretError where there is none.

    folder: of the habitat's state, which nobody else is at meanwhile.
    """

    def __init__(self, folder: Path, origin: Origin) -> None:
        agent = os.environ.get("SSH_AUTH_SOCK", "")
        if not agent or not Path(agent).is_socket():
            remedy = "start one and add your key: eval $(ssh-agent) && ssh-add"
            raise SecretError("ssh_agent: no SSH agent runs on the host", where=origin, remedy=remedy)
        self._folder = folder
        sweep(folder)
        try:
            self._server = _listen(folder / _PLACE, agent)
        except OSError as error:
            raise SecretError(
                f"ssh_agent: there can be no socket in {folder} ({error.strerror or error})",
                where=origin,
                remedy="have the project on a disk that takes one",
            ) from error
        threading.Thread(target=self._server.serve_forever, args=(_POLL,), daemon=True).start()
        self.bind = Bind(str((folder / _PLACE / _LENT).resolve()), _FOLDER, readonly=True)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        sweep(self._folder)


def sweep(folder: Path) -> None:
    """Remove what a relay, which may have been killed, has in the folder of a habitat's state."""
    shutil.rmtree(folder / _PLACE, ignore_errors=True)


def _listen(place: Path, agent: str) -> _Server:
    """A relay's server. Nobody else on the host gets into `place`, whatever the umask says."""
    lent = place / _LENT
    place.mkdir(mode=0o700)
    lent.mkdir()
    lent.chmod(0o755)
    # The path of a socket has room for 108 bytes.
    descriptor = os.open(lent, os.O_PATH | os.O_DIRECTORY)
    try:
        server = _Server(f"/proc/self/fd/{descriptor}/{_SOCKET}", agent)
    finally:
        os.close(descriptor)
    (lent / _SOCKET).chmod(0o666)
    return server


def known_hosts(path: Path, origin: Origin) -> Value:
    """The host keys that are trusted, as a file beside the secrets. Raises SecretError."""

    def unreadable(why: str) -> SecretError:
        remedy = "write the host's key into it (ssh-keyscan HOST), or name another with known_hosts:"
        return SecretError(f"ssh_agent: {path} can't be read ({why})", where=origin, remedy=remedy)

    try:
        data = safe_open.read(path, _LARGEST)
    except OSError as error:
        raise unreadable(error.strerror or str(error)) from error
    if data is None:
        raise unreadable("No such file or directory")
    if len(data) > _LARGEST:
        raise unreadable("larger than 10 MB")
    return Value(_KNOWN_HOSTS, data)


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True

    def __init__(self, path: str, agent: str) -> None:
        self.agent = agent
        super().__init__(path, _Connection)


class _Connection(socketserver.BaseRequestHandler):
    """One connection to the relay, and one from it to the agent."""

    server: _Server

    def handle(self) -> None:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as agent:
            agent.connect(self.server.agent)
            back = threading.Thread(target=copy, args=(agent, self.request), daemon=True)
            back.start()
            copy(self.request, agent)
            back.join()


def copy(source: socket.socket, target: socket.socket) -> None:
    """All that comes from one to the other, and its end."""
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
