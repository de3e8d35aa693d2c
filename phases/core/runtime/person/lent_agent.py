"""Lends the person's SSH agent to the sessions of a running habitat (`entry.ssh_agent`).

The container has a folder of the host, in which each session makes a socket of its own. So the container need not be
made anew when the agent, or its socket, is another one. The socket is gone at the end of the session.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from typing import TYPE_CHECKING

from phases.core import events
from phases.core.model import AGENT_FOLDER
from phases.core.runtime.person import agent_folder
from phases.core.secrets import ssh_agent

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from phases.core.runtime.session.session import Session

# Seconds after which a socket without a listener is one of a killed session.
_NEW = 10

_VARIABLE = "SSH_AUTH_SOCK"


def lend(session: Session) -> None:
    """Let the commands of a session use the person's agent, and say so."""
    project, habitat = session.project, session.habitat
    problem = remedy = ""
    if not agent_folder.binds(project, habitat):
        problem, remedy = "the engine is on another machine", "use one on this machine"
    elif not ssh_agent.address():
        problem, remedy = ssh_agent.NO_AGENT, ssh_agent.NO_AGENT_REMEDY
    elif _VARIABLE in session.extra_env:
        return  # the config names another agent
    if problem:
        text = (
            f"{agent_folder.origin(habitat)}: your SSH agent is not lent to {habitat.name}, since {problem}: {remedy}"
        )
        project.bus.emit(events.Notice(habitat.name, text, warning=True))
        return
    lent = LentAgent(session, agent_folder.folder(project, habitat))
    session.extra_env = {**session.extra_env, _VARIABLE: f"{AGENT_FOLDER}/{lent.name}"}
    session.companions.append(lent)


class LentAgent:
    """The agent as the commands of one session have it.

    Args:
        session: The session.
        folder: The folder with the sockets of all sessions.
    """

    def __init__(self, session: Session, folder: Path) -> None:
        assert session.guard
        self.name = session.guard.session_id
        self._session = session
        self._path = folder / self.name
        self._server: ssh_agent.RelayServer | None = None

    def start(self) -> None:
        """Make the socket. Raises SecretError."""
        if self._server:
            return
        habitat = self._session.habitat
        try:
            _sweep(self._path.parent)
            self._server = ssh_agent.serve(self._path, ssh_agent.address())
        except OSError as error:
            raise ssh_agent.no_socket(self._path.parent, agent_folder.origin(habitat), error) from error
        text = (
            f"your SSH agent is lent to {habitat.name} until this session ends: all that runs in it can use your keys"
        )
        self._session.project.bus.emit(events.Notice(habitat.name, text))

    def close(self) -> None:
        if self._server:
            self._server.shutdown()
            self._server.server_close()
        self._path.unlink(missing_ok=True)


def _sweep(folder: Path) -> None:
    """Remove the sockets of sessions that were killed: nobody listens there any more. Raises OSError."""
    for path in folder.iterdir():
        with contextlib.suppress(OSError), _opened(folder) as descriptor, socket.socket(socket.AF_UNIX) as client:
            if time.time() - path.lstat().st_mtime < _NEW:
                continue  # it may listen in a moment
            try:
                client.connect(f"/proc/self/fd/{descriptor}/{path.name}")  # the path itself may be too long
            except ConnectionRefusedError:
                path.unlink()


@contextlib.contextmanager
def _opened(folder: Path) -> Iterator[int]:
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
