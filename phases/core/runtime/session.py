"""Being in a habitat that runs: its container up, its init given time, its secrets there, a command in it."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from msgspec import Struct, field

from phases.core import events
from phases.core.build.ownership import container_name
from phases.core.cache import image_index, mounts
from phases.core.container import root_environment, shell_errors
from phases.core.container.init_process import container_ended
from phases.core.engine.protocol import Container
from phases.core.errors import Conflict, EngineError, EngineUnreachable, HabitatError, NotFound, StartError
from phases.core.masking import Mask
from phases.core.runtime import persistent_volumes, ready
from phases.core.runtime.attach import SHELL, run_captured, run_in_tty
from phases.core.runtime.container import ensure_running, final_image
from phases.core.runtime.exit_guard import VARIABLE, Guard
from phases.core.secrets import fingerprints
from phases.core.secrets.fingerprints import OutputCheck
from phases.core.secrets.store import deliver, variables, withdraw

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from phases.core.engine.locks import EngineLock
    from phases.core.model import Habitat
    from phases.core.port import Port
    from phases.core.project import Project
    from phases.core.runtime.attach import Runner, Terminal
    from phases.core.runtime.presence import Presence
    from phases.core.secrets.store import Value


# Seconds that the engine may need to tell of an end, and between two looks whether it does.
_ENDING, _PAUSE = 2, 0.1

# Of a visit that has yet to begin.
_NONE = Container("", "", "", running=False)


class Session(Struct):
    """Somebody in a running habitat. user, workdir: of the commands; more_env: what they find beside the
    image's environment and the secrets; own: how many of them may still run in it; was_started: it was not
    running before; guard: leaves for it when it is killed; come_again: brings it up once more where somebody has
    stopped it before the command began; claim: says to other clones that somebody is in it.
    """

    project: Project
    habitat: Habitat
    container: Container
    secrets: tuple[Value, ...]
    user: str
    workdir: str
    presence: Presence | None = None
    own: int = 0
    more_env: Mapping[str, str] = field(default_factory=dict)
    was_started: bool = False
    guard: Guard | None = None
    come_again: Callable[[], None] | None = None
    claim: EngineLock | None = None

    def run(self, argv: Sequence[str], how: Runner) -> int:
        """Run a command in it. Returns its exit code; raises StartError when the container ended under it."""
        if self.was_started:
            self._tell_ports()
        name, emit, started = self.habitat.name, self.project.bus.emit, time.monotonic()
        mask = Mask(value.data for value in self.secrets)
        shown = tuple(mask.text(word) for word in argv)
        emit(events.CommandStarted(name, self.container.name, shown, self.user, self.workdir))
        try:
            code = self._handed_over(argv, how)
        except Conflict:  # it doesn't run, and so nothing has begun
            if self.come_again is None or not _was_left(self):
                raise
            self.own = 0
            self.come_again()
            code = self._handed_over(argv, how)
        emit(events.CommandEnded(name, code, time.monotonic() - started))
        self.own = 0
        if container_ended(self.project.engine, self.container.id, code) and (ended := self.ended()):
            raise ended
        return code

    def _handed_over(self, argv: Sequence[str], how: Runner) -> int:
        name, emit = self.habitat.name, self.project.bus.emit
        self.own = 1  # a command that a signal interrupts still runs in the container, and ends with it
        emit(events.Handover(name, on=True))
        try:
            return how(self, argv)
        finally:
            emit(events.Handover(name, on=False))

    @property
    def env(self) -> dict[str, str]:
        """What a command finds in its environment, beside the container's, which is made for root."""
        own = root_environment.for_user(self.container.labels, self.habitat, self.user)
        sign = {VARIABLE: self.guard.visit} if self.guard else {}
        return {**own, **self.more_env, **variables(self.secrets), **sign}

    @property
    def ports(self) -> tuple[Port, ...]:
        """What is published of it, with the numbers that the engine picked."""
        now = self.project.engine.container(self.container.id) if self.habitat.entry.ports else None
        return now.ports if now else ()

    def _tell_ports(self) -> None:
        for port in self.ports:
            text = f"port {port.inside}: {port.url}" + (", also from other machines" if port.is_open else "")
            self.project.bus.emit(events.Notice(self.habitat.name, text))

    def stay(self) -> None:
        """Have the container stay up when nobody is in it any more."""
        if self.presence:
            self.presence.keep_running()

    def ended(self) -> HabitatError | None:
        return _ended(self.project, self.habitat, self.container, self.secrets)

    def try_shell(self) -> None:
        """Raises StartError where the container ends, as one does a moment after its start whose shell can't run."""
        engine = self.project.engine
        with suppress(Conflict):
            if engine.exec(self.container.id, ("/bin/sh", "-c", ":"), user=self.user, workdir="/") == 0:
                return
        until = time.monotonic() + _ENDING
        while not (ended := self.ended()) and time.monotonic() < until:
            time.sleep(_PAUSE)
        if ended:
            raise ended

    def broken_shell(self) -> HabitatError | None:
        """What to say when the container has ended since the shell of its image can't run."""
        return _broken_shell(self.project, self.habitat, self.container)


#: Finds or makes the container of a habitat. Returns it, running, and whether it was so before.
BringUp: TypeAlias = "Callable[[Project, Habitat], tuple[Container, bool]]"


def start(
    project: Project,
    name: str,
    terminal: Terminal,
    *,
    command: str = "",
    fresh: bool = False,
) -> int:
    """Run the habitat's command, or another, in its container, and stop that when the command ends.

    Returns the command's exit code. The container is used again while its image is still the same;
    one made from an older image is kept under another name, and so is any where it is to be `fresh`.
    Raises HabitatError.
    """
    with open_session(project, name, partial(ensure_running, image=final_image(project, name), fresh=fresh)) as visit:
        command = command or visit.habitat.entry.command
        if not command and not terminal.interactive:
            project.bus.emit(events.Notice(name, "there is no entry.command and no terminal: nothing to run"))
            return 0
        argv = ("/bin/sh", "-c", "--", command) if command else SHELL
        return visit.run(argv, run_in_tty(terminal) if terminal.interactive else run_captured(terminal))


def start_detached(project: Project, name: str, *, fresh: bool = False) -> None:
    """Bring the habitat's container up, secrets and init included, and leave it up. Raises HabitatError."""
    with open_session(project, name, partial(ensure_running, image=final_image(project, name), fresh=fresh)) as visit:
        visit.try_shell()  # no command follows that would find out
        visit.stay()
        at = "".join(f"{' at' if not i else ','} {port.url}" for i, port in enumerate(visit.ports))
    text = f"{container_name(name)} is up{at}: doit shell:{name} gets you in, doit stop:{name} stops it"
    project.bus.emit(events.Notice(name, text))


@contextmanager
def open_session(project: Project, name: str, bring_up: BringUp, *, guest: bool = False) -> Iterator[Session]:
    """Be in a habitat's running container, which is stopped by whoever leaves it last. bring_up: knows the image by
    its id, since the lock is given back before it is called; guest: what runs already is ready, however long ago
    it began. Raises HabitatError.
    """
    habitat = project.habitat(name)
    project.release(name)  # its command may go on for hours
    _warn_of_root(project, habitat)
    mounts.admit(project, habitat, mounts.mounts_of(habitat))
    secrets = project.vault.values(secret for secret in habitat.secrets if secret.start)
    presence = project.presence(name)
    visit = Session(project, habitat, _NONE, secrets, habitat.user, habitat.workdir, presence)
    guard = visit.guard = Guard(project.root, name, habitat.user)

    def enter() -> None:
        with presence.alone():
            guard.entering()
            _enter(visit, bring_up)
            guard.entering(visit.container)
            presence.join(visit.container.id, was_started=visit.was_started)
            fingerprints.note(project, name, visit.container, secrets)
            project.open_ends[name] = leave_it

    def leave_it() -> None:
        with presence.leaving() as left:
            _give_up(visit)
            if not left.keep_running:
                leave(project, name, visit.container, own=visit.own, last=left.is_last)
        guard.left()

    def come_again() -> None:
        project.maker.make(enter)
        _prepare(visit, presence, guest=guest)

    visit.come_again = come_again
    try:
        project.maker.make(enter)
    except HabitatError:
        _give_up(visit)
        guard.left()
        raise
    try:
        try:
            _prepare(visit, presence, guest=guest)
        except (EngineError, StartError) as error:
            if isinstance(error, EngineUnreachable) or not _was_left(visit):
                raise
            come_again()
        yield visit
    except EngineError as error:
        visit.own = 0
        raise visit.ended() or error from error
    finally:
        if end := project.open_ends.pop(name, None):
            # A signal ends the run as one, whatever is met on the way out.
            project.attempt(name, end) if isinstance(sys.exception(), KeyboardInterrupt) else end()


# Seconds for which somebody is waited for who is about to stop a container.
_STOPPING = 20


def _lock(project: Project, name: str, container: Container, *, alone: bool) -> EngineLock:
    """Shared by those who are in a container, taken alone by who stops it. Presence tells those of one clone alone."""
    return project.locks.lock(f"in {container.id[:12]} {name}", alone=alone)


def _enter(visit: Session, bring_up: BringUp) -> None:
    """Be in a container that runs, and that nobody stops: whoever begins a command at once in what he has just
    started needs no claim for that.
    """
    project, habitat = visit.project, visit.habitat
    while True:
        _give_up(visit)
        visit.container, was_running = bring_up(project, habitat)
        visit.was_started = not was_running
        if not (was_running or habitat.entry.startup_delay or habitat.entry.ready):
            return
        visit.claim = _lock(project, habitat.name, visit.container, alone=False)
        visit.claim.acquire(partial(_tell_of_who_stops_it, visit), patience=1.0)
        now = project.engine.container(visit.container.id)
        if not was_running or (now and now.running):
            return


def _tell_of_who_stops_it(visit: Session, who: str) -> None:
    text = f"waiting for another run that stops {visit.container.name} ({who})"
    visit.project.bus.emit(events.Notice(visit.habitat.name, text))


def _give_up(visit: Session) -> None:
    """Have nobody take the visit for one that goes on."""
    if claim := visit.claim:
        visit.claim = None
        claim.release()
        visit.project.locks.settle()


def _prepare(visit: Session, presence: Presence, *, guest: bool) -> None:
    """Have a container that is up ready for commands."""
    project, container = visit.project, visit.container
    if not visit.was_started:
        withdraw(project.engine, container.id, visit.secrets)
    deliver(project.engine, container.id, visit.secrets, visit.user)
    ready.wait(visit, presence, visit.habitat.entry, guest=guest)
    up = events.ContainerUp(visit.habitat.name, container.name, container.id, was_running=not visit.was_started)
    project.bus.emit(up)


def _was_left(visit: Session) -> bool:
    """Whether somebody whose presence can't be seen here, as he has another clone, has stopped the container when he
    left it. One that was brought up just now may have ended by itself, where it has an init.
    """
    now = visit.project.engine.container(visit.container.id)
    may_be = not visit.was_started or not visit.habitat.entry.init_command
    return may_be and now is not None and not now.running


def _warn_of_root(project: Project, habitat: Habitat) -> None:
    for volume in habitat.volumes:
        if volume.gives_root:
            text = f"{volume.shown} lets whatever runs in {habitat.name} be root on this machine"
            project.bus.emit(events.Notice(habitat.name, text, warning=True))


def leave(project: Project, name: str, container: Container, *, own: int, last: bool) -> None:
    """Stop the habitat's container, unless somebody else is in it. own: how many commands of whoever leaves may still
    run in it; last: no other visit is there.
    """
    engine = project.engine
    if persistent_volumes.of(container).files and engine.container(container.id) is None:
        return  # somebody has removed it
    persistent_volumes.collect_replaced_files(project, name, container)
    lock = _lock(project, name, container, alone=True)
    try:
        # From here on nobody of another clone enters it, and the commands of who is in it are seen.
        if last and lock.take(_STOPPING) and engine.running_execs(container.id) <= own:
            engine.stop(container.id)
            project.bus.emit(events.ContainerStopped(name, container.name))
            return
    except NotFound:
        return  # somebody has removed it
    finally:
        lock.release()
    project.bus.emit(events.Notice(name, f"{container.name} goes on: somebody else is in it"))


def _ended(project: Project, habitat: Habitat, container: Container, secrets: tuple[Value, ...]) -> HabitatError | None:
    """What to say when the main process of the container has ended; None while it runs.

    That is root's, and so may have printed what only USER was given.
    """
    now = project.engine.container(container.id)
    if now and now.running:
        return None
    if broken := _broken_shell(project, habitat, container):
        return broken
    try:
        said = "\n".join(project.engine.logs(container.id, 20))
    except (NotFound, Conflict):  # gone, or going
        return StartError(f"container {container.name} was removed", where=habitat.name, remedy="start it again")
    init = habitat.entry.init_command
    return StartError(
        f"the init command ended: {init}" if init else f"container {container.name} was stopped",
        where=habitat.name,
        remedy=f"{'it has to go on running; ' if init else ''}see docker logs {container.name}",
        output=_shown(OutputCheck(project, habitat.name, container, secrets), said),
    )


def _broken_shell(project: Project, habitat: Habitat, container: Container) -> HabitatError | None:
    """None also where an init was started by the shell: what that has printed is its own."""
    engine, image = project.engine, image_index.final_tag(habitat.name)
    with suppress(NotFound, Conflict):  # gone, or going
        if not habitat.entry.init_command and (why := shell_errors.reason_in_log(engine.logs(container.id, 20))):
            return shell_errors.shell_error(engine, container.id, habitat, image, why)
    return None


def _shown(witness: OutputCheck, said: str) -> list[str]:
    """What a main process said, or why that is not told."""
    mask = witness.mask()
    if not said:
        return []
    return mask.text(said).splitlines() if mask else [witness.why_not]
