"""Sessions: a person, or a command, in a running habitat."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol, TypeAlias

from msgspec import Struct, field

from phases.core import events
from phases.core.container import root_environment
from phases.core.container.init_process import container_ended
from phases.core.container.users import UserDatabase
from phases.core.errors import Conflict, HabitatError
from phases.core.masking import Mask
from phases.core.runtime.new_container import is_gated
from phases.core.runtime.session.hang_up import VARIABLE, end_commands
from phases.core.secrets.delivery import variables

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from phases.core.engine.locks import EngineLock
    from phases.core.engine.types import Container
    from phases.core.model import Habitat, Value
    from phases.core.port import Port
    from phases.core.project import Project
    from phases.core.runtime.session.exit_guard import Guard
    from phases.core.runtime.session.presence import Presence

# The exit code of a command that was killed.
_KILLED = 137

# Seconds that the engine may take to report the end of a container, and between two checks.
_END_TIMEOUT, _PAUSE = 2, 0.1

#: Runs a command of a session to its end, and returns its exit code.
Runner: TypeAlias = "Callable[[Session, Sequence[str]], int]"


class Companion(Protocol):
    """Something on this machine that serves the commands of a session, from the first of them to its end."""

    def start(self) -> None: ...

    def close(self) -> None:
        """End it. It may never have started."""


class Session(Struct):
    """A session in a habitat's container.

    Attributes:
        project: The project.
        habitat: The habitat.
        container: The container that the session is in.
        secrets: What its commands find in the folder of secrets.
        user: The user who runs its commands.
        workdir: The folder in which they run.
        presence: The record of the sessions in the container.
        own_execs: How many of its commands may still run in the container.
        extra_env: Variables of its commands beside those of the image and the secrets.
        was_started: Whether the container was started for this session.
        guard: Cleans up if this process is killed.
        reenter: Starts the container once more if another run stopped it before the command began.
        claim: Shows other clones that the container is in use.
        users: The users of the container's image, set when the session has entered it.
        masks: What hides the secrets in the output of its commands.
        companions: What runs on this machine beside its commands.
        named_ports: The unreachable ports that the person was warned of.
    """

    project: Project
    habitat: Habitat
    container: Container
    secrets: tuple[Value, ...]
    user: str
    workdir: str
    presence: Presence | None = None
    own_execs: int = 0
    extra_env: Mapping[str, str] = field(default_factory=dict)
    was_started: bool = False
    guard: Guard | None = None
    reenter: Callable[[], None] | None = None
    claim: EngineLock | None = None
    users: UserDatabase = field(default_factory=lambda: UserDatabase(lambda _: b""))
    masks: list[Mask] = field(default_factory=list)
    companions: list[Companion] = field(default_factory=list)
    named_ports: set[tuple[str, int]] = field(default_factory=set)

    def run(self, argv: Sequence[str], runner: Runner) -> int:
        """Run a command and return its exit code. Raises StartError if the container ended meanwhile."""
        name, emit, started = self.habitat.name, self.project.bus.emit, time.monotonic()
        mask = Mask(value.data for value in self.secrets)
        shown = tuple(mask.text(word) for word in argv)
        emit(events.CommandStarted(name, self.container.name, shown, self.user, self.workdir))
        try:
            code = self._run_once(argv, runner)
        except Conflict:  # the container doesn't run, so the command has not begun
            if self.reenter is None or not self.was_stopped():
                raise
            self.own_execs = 0
            self.reenter()
            code = self._run_once(argv, runner)
        emit(events.CommandEnded(name, code, time.monotonic() - started))
        self.own_execs = 0
        if container_ended(self.project.engine, self.container.id, code) and (error := self.end_error()):
            raise error
        self._report_memory(code)
        return code

    def _run_once(self, argv: Sequence[str], runner: Runner) -> int:
        name, emit = self.habitat.name, self.project.bus.emit
        self.own_execs = 1  # if a signal interrupts this, the command still runs, and ends with the container
        for companion in self.companions:
            companion.start()
        emit(events.Handover(name, on=True))
        try:
            return runner(self, argv)
        finally:
            emit(events.Handover(name, on=False))

    def mask(self, *, keep_width: bool = False) -> Mask:
        """Return what hides the secrets in an output, also those that come later."""
        self.masks.append(Mask((value.data for value in self.secrets), keep_width=keep_width))
        return self.masks[-1]

    @property
    def env(self) -> dict[str, str]:
        """The environment of a command beside the container's, which is made for root."""
        image_env = root_environment.for_user(self.container.labels, self.habitat, self.users, self.user)
        guard_env = {VARIABLE: self.guard.session_id} if self.guard else {}
        proxies = root_environment.proxies_of_running(self.project.engine, self.habitat)
        return {**image_env, **proxies, **self.extra_env, **variables(self.secrets), **guard_env}

    @property
    def ports(self) -> tuple[Port, ...]:
        """The published ports, with the numbers that the engine chose."""
        if not self.habitat.entry.ports:
            return ()
        if is_gated(self.container):
            from phases.core.network import proxy  # imported late: many habitats have no allowlist

            return proxy.published(self.project, self.habitat.name)
        current = self.project.engine.container(self.container.id)
        return current.ports if current else ()

    def _report_memory(self, code: int) -> None:
        """Name the memory limit if a command failed since a process was killed there.

        In a container that ran before, such a process may be an earlier one, unless the command itself was killed.
        """
        if code == _KILLED or (code and self.was_started):
            from phases.core.container import memory_limit  # imported late: few commands fail so

            limit = self.habitat.entry.limits.memory
            text = memory_limit.report(self.project.engine, self.container.id, "entry.limits.memory", limit)
            if text:
                self.project.bus.emit(events.Notice(self.habitat.name, text, warning=True))

    def keep_running(self) -> None:
        """Keep the container running after the last session."""
        if self.presence:
            self.presence.keep_running()

    def end_error(self) -> HabitatError | None:
        """Return the error if the container has ended, None while it runs or if there is none."""
        if not self.container.id:
            return None
        from phases.core.runtime import container_errors  # imported late, for a container that failed

        return container_errors.end_error(self.project, self.habitat, self.container, self.secrets)

    def shell_error(self) -> HabitatError | None:
        """Return the error if the container ended because the shell of its image can't run."""
        from phases.core.runtime import container_errors

        return container_errors.shell_error(self.project, self.habitat, self.container)

    def check_shell(self) -> None:
        """Raise StartError if the container ends, as it does soon after its start if the shell can't run."""
        engine = self.project.engine
        with suppress(Conflict):
            if engine.exec(self.container.id, ("/bin/sh", "-c", ":"), user=self.user, workdir="/") == 0:
                return
        until = time.monotonic() + _END_TIMEOUT
        while not (error := self.end_error()) and time.monotonic() < until:
            time.sleep(_PAUSE)
        if error:
            raise error

    def was_stopped(self) -> bool:
        """Return whether another clone's last session, which `presence` can't see, may have stopped the container.

        A container with an init command that was started just now may also have ended by itself.
        """
        current = self.project.engine.container(self.container.id)
        is_possible = not self.was_started or not self.habitat.entry.init_command
        return is_possible and current is not None and not current.running

    def end_commands(self) -> None:
        """End the commands that still run, because this session leaves a container that stays running."""
        if self.own_execs and self.guard:
            end_commands(self.project.engine, self.container.id, self.user, self.guard.session_id)
            self.own_execs = 0

    def release_claim(self) -> None:
        if claim := self.claim:
            self.claim = None
            claim.release()
            self.project.locks.wait_for_releases()
