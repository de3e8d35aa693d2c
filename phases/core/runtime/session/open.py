"""Opens a session in a habitat's container, and ends it."""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

from phases.core import events
from phases.core.cache import host_mounts
from phases.core.engine.types import Container
from phases.core.errors import EngineError, EngineUnreachable, HabitatError, StartError
from phases.core.runtime.new_container import ContainerChanged, is_gated
from phases.core.runtime.own_containers import container_name
from phases.core.runtime.person import commit_author
from phases.core.runtime.replacement import give_up, put_in_place
from phases.core.runtime.session import entry_env, mount_warnings, ready
from phases.core.runtime.session.exit_guard import Guard
from phases.core.runtime.session.held_secrets import session_secrets
from phases.core.runtime.session.image_users import users_of_image
from phases.core.runtime.session.presence import Presence
from phases.core.runtime.session.session import Session
from phases.core.runtime.stop import container_lock, stop_if_unused
from phases.core.secrets import fingerprints
from phases.core.secrets.delivery import deliver, withdraw

if TYPE_CHECKING:
    from collections.abc import Iterator

    from phases.core.model import Habitat
    from phases.core.project import Project


# Stands for the container of a session that has not entered one yet.
_NO_CONTAINER = Container("", "", "", running=False)


class BringUp(Protocol):
    """Finds or creates the container of a habitat."""

    def __call__(self, project: Project, habitat: Habitat, *, fresh: bool = False) -> tuple[Container, bool]:
        """Return the container, running, and whether it was running before. fresh: create it in any case."""


@contextmanager
def open_session(
    project: Project,
    name: str,
    bring_up: BringUp,
    *,
    fresh: bool = False,
    skip_delay_if_running: bool = False,
    stays_aside: bool = False,
) -> Iterator[Session]:
    """Enter a habitat's container, and stop it afterwards unless another session is in it.

    Args:
        project: The project.
        name: The name of the habitat.
        bring_up: Returns the running container. The build lock is released before, so it must know the image by id.
        fresh: Whether to tell `bring_up` to create a new container in any case.
        skip_delay_if_running: Whether to skip entry.startup_delay in a container that was running before.
        stays_aside: Whether the container is one that was set aside, and stays so.

    Raises:
        HabitatError: The habitat can't be started.
    """
    habitat = project.habitat(name)
    _prepare_host(project, habitat)
    secrets = session_secrets(project, habitat, keeps_optional=skip_delay_if_running)
    presence = Presence(project.state_folder(name))
    session = Session(project, habitat, _NO_CONTAINER, secrets, habitat.user, habitat.workdir, presence)
    guard = session.guard = Guard(project.root, name, habitat.user)
    steps = _SessionSteps(session, presence, guard, bring_up, fresh, skip_delay_if_running, stays_aside)
    session.reenter = steps.reenter
    try:
        project.maker.make(steps.enter)
    except HabitatError:
        session.release_claim()
        project.cleanups.run(name)
        guard.dismiss()
        raise
    try:
        steps.prepare_or_reenter()
        yield session
    except EngineError as error:
        session.own_execs = 0
        raise session.end_error() or error from error
    finally:
        project.cleanups.run(name)


class _SessionSteps(Struct):
    """The steps of one session: enter the container, prepare it, leave it."""

    session: Session
    presence: Presence
    guard: Guard
    bring_up: BringUp
    fresh: bool
    skip_delay_if_running: bool
    stays_aside: bool = False

    def enter(self) -> None:
        session, project, name = self.session, self.session.project, self.session.habitat.name
        with self.presence.alone():
            self.guard.watch()
            self._claim_running()
            self.guard.watch(session.container)
            self.presence.join(session.container.id, was_started=session.was_started)
            project.cleanups.add(name, self.leave)
            fingerprints.note(project.state_folder(name), session.container, session.secrets)

    def _claim_running(self) -> None:
        """Bring the container up and claim it, until it is certain that no other run has stopped it meanwhile.

        If the session has just started the container and runs its command at once, no claim is needed.
        """
        session, project, habitat = self.session, self.session.project, self.session.habitat
        while True:
            session.release_claim()
            session.container, was_running = self.bring_up(project, habitat, fresh=self.fresh)
            self.fresh = False  # a container that this session enters again is fresh
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
        session.users = users_of_image(project, session.habitat, container)
        if session.secrets:
            session.users.account(session.user, session.habitat.name)  # or the delivery would fail without a reason
        if not session.was_started:
            withdraw(project.engine, container.id, session.secrets)
        deliver(project.engine, container.id, session.secrets, session.user, session.habitat)
        self._close_companions()  # of a container that this session had to leave
        session.extra_env = commit_author.variables(session) | entry_env.for_commands(
            project.engine, session.habitat, container, session.users, session.user
        )
        if is_gated(container):
            from phases.core.network import blocked  # imported late: many habitats have no allowlist

            session.companions.append(blocked.BlockedReport(project, session.habitat.name))
        if session.habitat.entry.ssh_agent:
            from phases.core.runtime.person import lent_agent  # imported late: many habitats don't ask for it

            lent_agent.lend(session)
        if any(repo.token for repo in session.habitat.repos):
            from phases.core.runtime.person import git_tokens  # imported late: many habitats have none

            git_tokens.give(session)
        if session.habitat.entry.instruction_files and (session.was_started or not self.skip_delay_if_running):
            from phases.core.runtime.session import instructions  # imported late: many habitats have none

            instructions.deliver(session)
        if session.habitat.entry.files and not session.was_started:
            from phases.core.runtime.session import entry_files  # imported late: many habitats have none

            entry_files.report_changes(project, session.habitat, container)
        entry = session.habitat.entry
        ready.wait(session, self.presence, entry, skip_delay_if_running=self.skip_delay_if_running)
        try:
            container = self._put_in_place()
        except ContainerChanged:
            self._move()
            return
        was_running = not session.was_started
        project.bus.emit(
            events.ContainerUp(session.habitat.name, container.name, container.id, was_running=was_running)
        )

    def _put_in_place(self) -> Container:
        """Let the container replace the habitat's earlier one, if it is to, now that it is ready. Return it."""
        session = self.session
        if self._is_to_be_placed:
            if session.was_started:
                ready.check_start(session)
            with self.presence.alone():
                session.container = put_in_place(session.project, session.habitat, session.container)
        return session.container

    @property
    def _is_to_be_placed(self) -> bool:
        """Return whether the container is to become the habitat's, and isn't yet."""
        name = self.session.project.names.of(self.session.habitat.name)
        return not self.stays_aside and self.session.container.name != container_name(name)

    def _move(self) -> None:
        """Leave the container, and enter the habitat's once more. If that fails, nothing is left to leave."""
        cleanups, name = self.session.project.cleanups, self.session.habitat.name
        cleanups.forget(name)
        self._exit()
        self.session.container = _NO_CONTAINER
        cleanups.add(name, self.guard.dismiss)
        self.reenter()

    def reenter(self) -> None:
        self.session.project.maker.make(self.enter)
        self.prepare()

    def leave(self) -> None:
        self._exit()
        self.guard.dismiss()

    def _exit(self) -> None:
        session = self.session
        self._close_companions()
        with self.presence.leaving() as end:
            session.release_claim()
            is_stopped = not end.keep_running and stop_if_unused(
                session.project,
                session.habitat.name,
                session.container,
                own_execs=session.own_execs,
                is_last=end.is_last,
            )
            if not is_stopped:
                session.end_commands()
            if self._is_to_be_placed:
                give_up(session.project, session.habitat.name, session.container.id)

    def _close_companions(self) -> None:
        while self.session.companions:
            self.session.companions.pop().close()


def _prepare_host(project: Project, habitat: Habitat) -> None:
    mount_warnings.warn_of_config(project, habitat)
    host_mounts.admit(project.need_trust, habitat, host_mounts.mounts_of(habitat))
    if habitat.entry.ssh_agent:
        from phases.core.runtime.person import agent_folder  # imported late: many habitats don't ask for it

        agent_folder.prepare(project, habitat)


def _report_wait(session: Session, holder: str) -> None:
    text = f"waiting for another run that stops {session.container.name} ({holder})"
    session.project.bus.emit(events.Notice(session.habitat.name, text))
