"""Runs the login of a habitat's agent: shows its URL in one line, and lets the browser come back to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phases.core import command_form, events
from phases.core.errors import StartError
from phases.core.runtime.exec import find_or_start
from phases.core.runtime.person.callbacks import CallbackPorts
from phases.core.runtime.person.login_urls import LoginUrls
from phases.core.runtime.session.attach import run_in_tty
from phases.core.runtime.session.open import open_session

if TYPE_CHECKING:
    from phases.core.engine.protocol import Exec
    from phases.core.project import Project
    from phases.core.runtime.person.login_urls import LoginUrl
    from phases.core.runtime.session.attach import Terminal


def login(project: Project, name: str, command: str, terminal: Terminal) -> int:
    """Run a login in a habitat, on the terminal.

    Args:
        project: The project.
        name: The name of the habitat.
        command: The command for a shell, "" for `entry.login`.
        terminal: The terminal.

    Returns:
        The exit code of the command.

    Raises:
        HabitatError: There is no command or no terminal, or the habitat can't be started.
    """
    command = command or project.habitat(name).entry.login
    if not command:
        example = command_form.verb("login", name, "--cmd", "gh auth login")
        raise StartError("there is no entry.login", where=name, remedy=f"name the command: `{example}`")
    if not terminal.interactive:
        raise StartError("a login needs a terminal", where=name, remedy="run the same command on one")
    argv = ("/bin/sh", "-c", "--", command)
    with open_session(project, name, find_or_start, skip_delay_if_running=True) as session:
        ports = CallbackPorts(session)
        session.companions.append(ports)
        urls = LoginUrls(terminal.size[1])
        code = session.run(argv, run_in_tty(terminal, lambda process: LoginExec(process, urls, ports)))
    if code == 0:
        project.bus.emit(events.Notice(name, "logged in"))
    return code


class LoginExec:
    """The command of a login (see `protocol.Exec`), with a line of ours behind each of its URLs."""

    def __init__(self, process: Exec, urls: LoginUrls, ports: CallbackPorts) -> None:
        self._process = process
        self._urls = urls
        self._ports = ports

    def read(self) -> bytes | None:
        data = self._process.read()
        if not data:
            return data
        return data + b"".join(self._line(found) for found in self._urls.feed(data))

    def _line(self, found: LoginUrl) -> bytes:
        """Return the lines about a URL. It has only characters of URLs, so it does nothing else to a terminal."""
        link = f"\x1b]8;;{found.url}\x1b\\{found.url}\x1b]8;;\x1b\\"
        text = f"\r\n⇒ open this in your browser: {link}\r\n"
        if found.port:
            problem = self._ports.open(found.port)
            here = f"http://localhost:{found.port}"
            leads = f"{here} of this machine leads into the habitat until the login ends"
            text += f"⇒ {f'{here} can not lead into the habitat: {problem}' if problem else leads}\r\n"
        return text.encode()

    def fileno(self) -> int:
        return self._process.fileno()

    @property
    def is_suspended(self) -> bool:
        return self._process.is_suspended

    def resume(self) -> None:
        self._process.resume()

    def write(self, data: bytes) -> None:
        self._process.write(data)

    def resize(self, rows: int, columns: int) -> None:
        self._urls.columns = columns
        self._process.resize(rows, columns)

    def exit_code(self) -> int:
        return self._process.exit_code()

    def close(self) -> None:
        self._process.close()
