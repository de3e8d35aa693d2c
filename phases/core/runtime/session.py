"""Sessions: a person, or a command, in a running habitat."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from msgspec import Struct, field

from phases.core import events
from phases.core.cache import mounts
from phases.core.container import root_environment
from phases.core.container.init_process import container_ended
from phases.core.engine.types import Container
from phases.core.errors import Conflict, EngineError, EngineUnreachable, HabitatError, StartError
from phases.core.masking import Mask
from phases.core.runtime import container_errors, ready
from phases.core.runtime.exit_guard import VARIABLE, Guard
from phases.core.runtime.presence import Presence
from phases.core.runtime.stop import container_lock, stop_if_unused
from phases.core.secrets import fingerprints
from phases.core.secrets.store import deliver, variables, withdraw

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from phases.core.engine.locks import EngineLock
    from phases.core.model import Habitat, Value
    from phases.core.port import Port
    from phases.core.project import Project
    from phases.core.runtime.attach import Runner


# Seconds that the engine may take to report the end of a container, and between two checks.
_END_TIMEOUT, _PAUSE = 2, 0.1

# Of a session that has not entered a container yet.
_NO_CONTAINER = Container("", "", "", running=False)


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

    def run(self, argv: Sequence[str], runner: Runner) -> int:
        """Run a command and return its exit code. Raises StartError if the container ended meanwhile."""
        if self.was_started:
            self._report_ports()
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
        return code

    def _run_once(self, argv: Sequence[str], runner: Runner) -> int:
        name, emit = self.habitat.name, self.project.bus.emit
        self.own_execs = 1  # if a signal interrupts this, the command still runs, and ends with the container
        emit(events.Handover(name, on=True))
        try:
            return runner(self, argv)
        finally:
            emit(events.Handover(name, on=False))

    @property
    def env(self) -> dict[str, str]:
        """The environment of a command beside the container's, which is made for root."""
        image_env = root_environment.for_user(self.container.labels, self.habitat, self.user)
        guard_env = {VARIABLE: self.guard.session_id} if self.guard else {}
        return {**image_env, **self.extra_env, **variables(self.secrets), **guard_env}

    @property
    def ports(self) -> tuple[Port, ...]:
        """The published ports, with the numbers that the engine chose."""
        current = self.project.engine.container(self.container.id) if self.habitat.entry.ports else None
        return current.ports if current else ()

    def _report_ports(self) -> None:
        for port in self.ports:
            text = f"port {port.inside}: {port.url}" + (", also from other machines" if port.is_open else "")
            self.project.bus.emit(events.Notice(self.habitat.name, text))

    def keep_running(self) -> None:
        """Keep the container running after the last session."""
        if self.presence:
            self.presence.keep_running()

    def end_error(self) -> HabitatError | None:
        """Return the error if the container's main process has ended, None while it runs."""
        return container_errors.end_error(self.project, self.habitat, self.container, self.secrets)

    def shell_error(self) -> HabitatError | None:
        """Return the error if the container ended because the shell of its image can't run."""
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

    def release_claim(self) -> None:
        if claim := self.claim:
            self.claim = None
            claim.release()
            self.project.locks.wait_for_releases()


#: Finds or creates the container of a habitat. Returns it, running, and whether it was running before.
BringUp: TypeAlias = "Callable[[Project, Habitat], tuple[Container, bool]]"


@contextmanager
def open_session(
    project: Project, name: str, bring_up: BringUp, *, skip_delay_if_running: bool = False
) -> Iterator[Session]:
    """Enter a habitat's container, and stop it afterwards unless another session is in it.

    Args:
        project: The project.
        name: The name of the habitat.
        bring_up: Returns the running container. The build lock is released before, so it must know the image by id.
        skip_delay_if_running: Whether to skip entry.startup_delay in a container that was running before.

    Raises:
        HabitatError: The habitat can't be started.
    """
    habitat = project.habitat(name)
    _warn_of_root(project, habitat)
    mounts.admit(project.need_trust, habitat, mounts.mounts_of(habitat))
    secrets = project.vault.values(secret for secret in habitat.secrets if secret.start)
    presence = Presence(project.state_folder(name))
    session = Session(project, habitat, _NO_CONTAINER, secrets, habitat.user, habitat.workdir, presence)
    guard = session.guard = Guard(project.root, name, habitat.user)
    steps = _SessionSteps(session, presence, guard, bring_up, skip_delay_if_running=skip_delay_if_running)
    session.reenter = steps.reenter
    try:
        project.maker.make(steps.enter)
    except HabitatError:
        session.release_claim()
        guard.dismiss()
        raise
    try:
        steps.prepare_or_reenter()
        yield session
    except EngineError as error:
        session.own_execs = 0
        raise session.end_error() or error from error
    finally:
        if leave := project.open_ends.pop(name, None):
            # After a signal, an error on the way out must not replace the interrupt.
            project.attempt(name, leave) if isinstance(sys.exception(), KeyboardInterrupt) else leave()


class _SessionSteps(Struct):
    """The steps of one session: enter the container, prepare it, leave it."""

    session: Session
    presence: Presence
    guard: Guard
    bring_up: BringUp
    skip_delay_if_running: bool

    def enter(self) -> None:
        session, project, name = self.session, self.session.project, self.session.habitat.name
        with self.presence.alone():
            self.guard.watch()
            self._claim_running()
            self.guard.watch(session.container)
            self.presence.join(session.container.id, was_started=session.was_started)
            fingerprints.note(project.state_folder(name), session.container, session.secrets)
            project.open_ends[name] = self.leave

    def _claim_running(self) -> None:
        """Bring the container up and claim it, until it is certain that no other run has stopped it meanwhile.

        If the session has just started the container and runs its command at once, no claim is needed.
        """
        session, project, habitat = self.session, self.session.project, self.session.habitat
        while True:
            session.release_claim()
            session.container, was_running = self.bring_up(project, habitat)
            session.was_started = not was_running
            if not (was_running or habitat.entry.startup_delay or habitat.entry.ready):
                return
            session.claim = container_lock(project, habitat.name, session.container, alone=False)
            session.claim.acquire(partial(_report_wait, session), report_after=1.0)
            current = project.engine.container(session.container.id)
            if not was_running or (current and current.running):
                return

    def prepare_or_reenter(self) -> None:
        try:
            self.prepare()
        except (EngineError, StartError) as error:
            if isinstance(error, EngineUnreachable) or not self.session.was_stopped():
                raise
            self.reenter()

    def prepare(self) -> None:
        """Deliver the secrets and wait until the container is ready."""
        session, project, container = self.session, self.session.project, self.session.container
        if not session.was_started:
            withdraw(project.engine, container.id, session.secrets)
        deliver(project.engine, container.id, session.secrets, session.user)
        entry = session.habitat.entry
        ready.wait(session, self.presence, entry, skip_delay_if_running=self.skip_delay_if_running)
        was_running = not session.was_started
        project.bus.emit(
            events.ContainerUp(session.habitat.name, container.name, container.id, was_running=was_running)
        )

    def reenter(self) -> None:
        self.session.project.maker.make(self.enter)
        self.prepare()

    def leave(self) -> None:
        session = self.session
        with self.presence.leaving() as end:
            session.release_claim()
            if not end.keep_running:
                stop_if_unused(
                    session.project,
                    session.habitat.name,
                    session.container,
                    own_execs=session.own_execs,
                    is_last=end.is_last,
                )
        self.guard.dismiss()


def _report_wait(session: Session, holder: str) -> None:
    text = f"waiting for another run that stops {session.container.name} ({holder})"
    session.project.bus.emit(events.Notice(session.habitat.name, text))


def _warn_of_root(project: Project, habitat: Habitat) -> None:
    for volume in habitat.volumes:
        if volume.gives_root:
            text = f"{volume.shown} gives every process in {habitat.name} root access to this machine"
            project.bus.emit(events.Notice(habitat.name, text, warning=True))
