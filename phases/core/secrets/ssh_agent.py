"""Forwards the host's SSH agent to a container, while a phase or a session runs.

Only the agent's user can connect to its socket, and that user has another uid in the container. So the container gets
a socket of this program. Every user in the container can connect to it, and no other user of the host can. Keys stay in
the agent.
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

from phases.core.engine.types import Bind
from phases.core.errors import SecretError
from phases.core.files import safe_open
from phases.core.model import AGENT_FOLDER, SECRETS_FOLDER, Value

if TYPE_CHECKING:
    from phases.core.origin import Origin

_MOUNTED, _SOCKET = "lent", "socket"
_KNOWN_HOSTS = ".known_hosts"

# In the folder of a habitat's state, so that the next run removes what a killed run left.
_STATE_FOLDER = "ssh-agent"

# Bytes of a file of host keys. The tmpfs has space for several.
_MAX_BYTES = 10 << 20

# Checks host keys, and never asks: nobody would answer.
_SSH = f"ssh -o BatchMode=yes -o StrictHostKeyChecking=yes -o UserKnownHostsFile={SECRETS_FOLDER}/{_KNOWN_HOSTS}"

# Seconds between two checks whether to stop, so that `close` takes this long at most.
_POLL = 0.05

#: What is wrong without an agent, and what to do.
NO_AGENT = "no SSH agent runs on the host"
NO_AGENT_REMEDY = "start one and add your key: eval $(ssh-agent) && ssh-add"

#: The environment of commands that may use the agent.
ENV = {"SSH_AUTH_SOCK": f"{AGENT_FOLDER}/{_SOCKET}", "GIT_SSH_COMMAND": _SSH}


class AgentRelay:
    """Forwards connections to the agent at SSH_AUTH_SOCK until `close`.

    Args:
        folder: The habitat's state folder. No other run may use it meanwhile.
        origin: The place in the config, for errors.

    Raises:
        SecretError: No agent runs, or the socket can't be made.
    """

    def __init__(self, folder: Path, origin: Origin) -> None:
        agent = address()
        if not agent:
            raise SecretError(f"ssh_agent: {NO_AGENT}", where=origin, remedy=NO_AGENT_REMEDY)
        self._folder = folder
        sweep(folder)
        mounted = folder / _STATE_FOLDER / _MOUNTED
        try:
            make_folder(mounted)
            self._server = serve(mounted / _SOCKET, agent)
        except OSError as error:
            raise no_socket(folder, origin, error) from error
        self.bind = Bind(str(mounted.resolve()), AGENT_FOLDER, readonly=True)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        sweep(self._folder)


def sweep(folder: Path) -> None:
    """Remove the files of a relay, which may have been killed, from a habitat's state folder."""
    shutil.rmtree(folder / _STATE_FOLDER, ignore_errors=True)


def address() -> str:
    """Return the path of the socket of the person's agent, "" if none runs."""
    agent = os.environ.get("SSH_AUTH_SOCK", "")
    return agent if agent and Path(agent).is_socket() else ""


def no_socket(folder: Path, origin: Origin | str, error: OSError) -> SecretError:
    """Return the error for a folder in which no socket can be made."""
    problem = f"ssh_agent: can't make a socket in {folder} ({error.strerror or error})"
    return SecretError(problem, where=origin, remedy="move the project to a file system that supports sockets")


def make_folder(mounted: Path) -> None:
    """Make a folder for sockets, which all users of a container can enter, and no other user of the host can.

    Its parent keeps those out, whatever the umask is. Raises OSError.
    """
    mounted.parent.mkdir(mode=0o700, exist_ok=True)
    mounted.mkdir(exist_ok=True)
    mounted.chmod(0o755)


def serve(path: Path, agent: str) -> RelayServer:
    """Forward each connection to the socket `path`, in a folder of `make_folder`, to the agent. Raises OSError.

    The server runs in the background until its `shutdown` and `server_close`.
    """
    # The path of a socket is 108 bytes at most, so it goes by way of /proc.
    descriptor = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        server = RelayServer(f"/proc/self/fd/{descriptor}/{path.name}", agent)
    finally:
        os.close(descriptor)
    path.chmod(0o666)
    threading.Thread(target=server.serve_forever, args=(_POLL,), daemon=True).start()
    return server


def known_hosts(path: Path, origin: Origin) -> Value:
    """Return the trusted host keys as a file beside the secrets. Raises SecretError if they can't be read."""

    def unreadable(reason: str) -> SecretError:
        remedy = "write the host's key into it (ssh-keyscan HOST), or name another with known_hosts:"
        return SecretError(f"ssh_agent: {path} can't be read ({reason})", where=origin, remedy=remedy)

    try:
        data = safe_open.read(path, _MAX_BYTES)
    except OSError as error:
        raise unreadable(error.strerror or str(error)) from error
    if data is None:
        raise unreadable("No such file or directory")
    if len(data) > _MAX_BYTES:
        raise unreadable("larger than 10 MB")
    return Value(_KNOWN_HOSTS, data)


class RelayServer(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True

    def __init__(self, path: str, agent: str) -> None:
        self.agent = agent
        super().__init__(path, _Connection)


class _Connection(socketserver.BaseRequestHandler):
    """Connects a client of the relay to the agent."""

    server: RelayServer

    def handle(self) -> None:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as agent:
            agent.connect(self.server.agent)
            back = threading.Thread(target=copy, args=(agent, self.request), daemon=True)
            back.start()
            copy(self.request, agent)
            back.join()


def copy(source: socket.socket, target: socket.socket) -> None:
    """Copy all data from `source` to `target`, then close `target` for writing."""
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
