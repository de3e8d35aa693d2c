"""Gives git in a running habitat the tokens of `repos:`, and renews those that come from a command or a file.

Beside the commands of a session, a shell in the container passes their requests on (`serve_requests.sh`). This program
fetches the token again, as at the start, and writes it where it is.
"""

from __future__ import annotations

import os
import select
import shlex
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from phases.core import events, git_credentials
from phases.core.container import root_environment, timed_exec
from phases.core.errors import HabitatError
from phases.core.files.shell_program import ShellProgram
from phases.core.runtime.person.token_requests import TokenRequests
from phases.core.runtime.session.hang_up import VARIABLE
from phases.core.secrets import delivery, fingerprints

if TYPE_CHECKING:
    from phases.core.engine.protocol import Piped
    from phases.core.model import Secret
    from phases.core.runtime.session.session import Session

_SERVE = ShellProgram(__file__, "serve_requests.sh")
_ASK = ShellProgram(__file__, "ask.sh")

# Seconds after each piece of what the habitat writes, so that an endless stream doesn't keep this machine busy.
_PAUSE = 0.05

# Seconds that the shell in the container, and a renewal, may take to end.
_END_TIMEOUT = 2.0

# Seconds that a command waits at most for the shell: what it asks before is not answered.
_READY_TIMEOUT = 10.0


def give(session: Session) -> None:
    """Let the commands of a session, which has its environment, use the tokens of running habitats."""
    habitat = session.habitat
    sources = {secret.name: secret for secret in habitat.secrets if secret.start and not secret.env}
    renewed = [sources[repo.token] for repo in habitat.repos if repo.token in sources]
    folder = f"/dev/shm/habitat-{session.guard.session_id}" if session.guard else ""  # noqa: S108 (in a container)

    def renew(token: str) -> str:
        if token not in sources or not folder:
            return ""
        return f"test ! -e {folder}/ask || sh {folder}/ask {folder} {shlex.quote(token)}"

    env = {**root_environment.environment_of_label(session.container.labels), **session.extra_env}
    others = env.get(git_credentials.PARAMETERS, "")
    session.extra_env = {**session.extra_env, **git_credentials.of_session(habitat, renew, others)}
    if renewed and folder:
        session.companions.append(TokenRenewal(session, folder, {secret.name: secret for secret in renewed}))


class TokenRenewal:
    """Renews tokens while a session runs.

    Args:
        session: The session.
        folder: Where its commands ask, in the container.
        secrets: The tokens, by name.
    """

    def __init__(self, session: Session, folder: str, secrets: dict[str, Secret]) -> None:
        self._session = session
        self._folder = folder
        self._secrets = secrets
        self._requests = TokenRequests(secrets)
        self._problems: dict[str, str] = {}
        self._ready = threading.Event()
        self._woken, self._waker = os.pipe()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def start(self) -> None:
        """Return when the commands of the session can ask, or never will."""
        self._thread.start()
        self._ready.wait(_READY_TIMEOUT)

    def close(self) -> None:
        """End it, and report what could not be renewed."""
        os.write(self._waker, b"x")
        if self._thread.ident is not None:
            self._thread.join(_END_TIMEOUT * 2)
        if self._thread.is_alive():
            self._session.own_execs += 1  # it ends with the container
        else:
            os.close(self._woken)
            os.close(self._waker)
        for text in self._problems.values():
            self._session.project.bus.emit(events.Notice(self._session.habitat.name, text, warning=True))

    def _serve(self) -> None:
        try:
            with suppress(HabitatError):  # without this, git has the tokens of the start
                self._serve_container()
        finally:
            self._ready.set()

    def _serve_container(self) -> None:
        session = self._session
        argv = ("/bin/sh", "-c", "--", _SERVE.text, "sh", self._folder, _ASK.text)
        env = {VARIABLE: session.guard.session_id} if session.guard else {}
        process = session.project.engine.exec_piped(session.container.id, argv, user=session.user, workdir="/", env=env)
        try:
            self._answer_all(process)
            process.end_input()
            if timed_exec.wait_for_end(process, lambda *_: None, _END_TIMEOUT) or timed_exec.kill_and_wait(
                process, lambda *_: None
            ):
                process.exit_code()  # the engine has noticed the end, and doesn't count the command any more
        finally:
            process.close()

    def _answer_all(self, process: Piped) -> None:
        number = 0
        while True:
            ready, _, _ = select.select([process.fileno(), self._woken], [], [])
            if self._woken in ready or (chunks := process.read()) is None:
                return
            if chunks:
                self._ready.set()
            for name in self._requests.feed(b"".join(data for data, is_err in chunks if not is_err)):
                if self._requests.is_due(name):
                    self._renew(self._secrets[name])
                number += 1
                process.write(f"{name} {number}\n".encode())
            time.sleep(_PAUSE)

    def _renew(self, secret: Secret) -> None:
        """Fetch a token and give it to the habitat. If that fails, the habitat keeps the one that it has."""
        session = self._session
        try:
            values = session.project.vault.fresh_copy().values([secret])
            new = [value for value in values if value not in session.secrets]
            if new:
                for mask in session.masks:
                    mask.add(new[0].data)
                fingerprints.note(session.project.state_folder(session.habitat.name), session.container, new)
                delivery.deliver(session.project.engine, session.container.id, new, session.user, session.habitat)
                session.secrets = (*(one for one in session.secrets if one.name != secret.name), *new)
            self._problems.pop(secret.name, None)
        except HabitatError as error:
            self._problems[secret.name] = f"the token {secret.name} was not renewed: {error}"
