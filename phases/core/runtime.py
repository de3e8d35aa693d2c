"""Being in a habitat that runs: its container up, its init given time, its secrets there, a command in it."""

from __future__ import annotations

import time
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from msgspec import Struct, field

from phases.core import events, persistence, readiness
from phases.core.belonging import container_name
from phases.core.errors import Conflict, EngineError, NotFound, StartError
from phases.core.habitat_container import brought_up, built
from phases.core.idling import ended_under
from phases.core.masking import Mask
from phases.core.runners import SHELL, interactively, streamed
from phases.core.secrets import deliver, variables, withdraw

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from phases.core.engine import Container
    from phases.core.locks import Presence
    from phases.core.model import Habitat
    from phases.core.port import Port
    from phases.core.project import Project
    from phases.core.runners import Runner, Terminal
    from phases.core.secrets import Value


class Visit(Struct):
    """Somebody in a running habitat. user, workdir: of the commands; more_env: what they find beside the
    image's environment and the secrets; own: how many of them may still run in it; brought_up: it was not
    running before.
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
    brought_up: bool = False

    def run(self, argv: Sequence[str], how: Runner) -> int:
        """Run a command in it. Returns its exit code; raises StartError when the container ended under it."""
        if self.brought_up:
            self._tell_ports()
        self.own = 1  # a command that a signal interrupts still runs in the container, and ends with it
        name, emit, started = self.habitat.name, self.project.bus.emit, time.monotonic()
        mask = Mask(value.data for value in self.secrets)
        shown = tuple(mask.text(word) for word in argv)
        emit(events.CommandStarted(name, self.container.name, shown, self.user, self.workdir))
        emit(events.Handover(name, on=True))
        try:
            code = how(self, argv)
        finally:
            emit(events.Handover(name, on=False))
        emit(events.CommandEnded(name, code, time.monotonic() - started))
        self.own = 0
        if ended_under(self.project.engine, self.container.id, code) and (ended := self.ended()):
            raise ended
        return code

    @property
    def env(self) -> dict[str, str]:
        """What a command finds in its environment, beside the image's."""
        return {**self.more_env, **variables(self.secrets)}

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
            self.presence.stay()

    def ended(self) -> StartError | None:
        return _ended(self.project, self.habitat, self.container, self.secrets)


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
    with visiting(project, name, partial(brought_up, image=built(project, name), fresh=fresh)) as visit:
        command = command or visit.habitat.entry.command
        if not command and not terminal.interactive:
            project.bus.emit(events.Notice(name, "there is no entry.command and no terminal: nothing to run"))
            return 0
        argv = ("/bin/sh", "-c", "--", command) if command else SHELL
        return visit.run(argv, interactively(terminal) if terminal.interactive else streamed(terminal))


def start_detached(project: Project, name: str, *, fresh: bool = False) -> None:
    """Bring the habitat's container up, secrets and init included, and leave it up. Raises HabitatError."""
    with visiting(project, name, partial(brought_up, image=built(project, name), fresh=fresh)) as visit:
        visit.stay()
        at = "".join(f"{' at' if not i else ','} {port.url}" for i, port in enumerate(visit.ports))
    text = f"{container_name(name)} is up{at}: doit shell:{name} gets you in, doit stop:{name} stops it"
    project.bus.emit(events.Notice(name, text))


@contextmanager
def visiting(project: Project, name: str, bring_up: BringUp, *, guest: bool = False) -> Iterator[Visit]:
    """Be in a habitat's running container, which is stopped by whoever leaves it last. bring_up: knows the image by
    its id, since the lock is given back before it is called; guest: what runs already is ready, however long ago
    it began. Raises HabitatError.
    """
    habitat = project.habitat(name)
    project.release(name)  # its command may go on for hours
    _warn_of_root(project, habitat)
    secrets = project.vault.values(secret for secret in habitat.secrets if secret.start)
    presence = project.presence(name)

    def enter() -> tuple[Visit, bool]:
        with presence.alone():
            container, was_running = bring_up(project, habitat)
            presence.join(container.id, brought_up=not was_running)
            visit = Visit(project, habitat, container, secrets, habitat.user, habitat.workdir, presence)
            visit.brought_up = not was_running
            project.open_ends[name] = lambda: leave(visit)
        return visit, was_running

    def leave(visit: Visit) -> None:
        with presence.leaving() as left:
            if not left.stays:
                _leave(visit, last=left.alone)

    visit, was_running = project.maker.make(enter)
    try:
        if was_running:
            withdraw(project.engine, visit.container.id, secrets)
        deliver(project.engine, visit.container.id, secrets, habitat.user)
        readiness.wait(visit, presence, habitat.entry, guest=guest)
        project.bus.emit(events.ContainerUp(name, visit.container.name, visit.container.id, was_running))
        yield visit
    except EngineError as error:
        visit.own = 0
        raise visit.ended() or error from error
    finally:
        if project.open_ends.pop(name, None):
            leave(visit)


def _warn_of_root(project: Project, habitat: Habitat) -> None:
    for volume in habitat.volumes:
        if volume.gives_root:
            text = f"{volume.shown} lets whatever runs in {habitat.name} be root on this machine"
            project.bus.emit(events.Notice(habitat.name, text, warning=True))


def _leave(visit: Visit, *, last: bool) -> None:
    """Stop the container, unless somebody else is in it."""
    engine, container = visit.project.engine, visit.container
    try:
        others = engine.running_execs(container.id) > visit.own
    except NotFound:
        return  # somebody has removed it
    persistence.take_in(visit.project, visit.habitat.name, container)
    if last and not others:
        engine.stop(container.id)
        visit.project.bus.emit(events.ContainerStopped(visit.habitat.name, container.name))
    else:
        text = f"{container.name} goes on: somebody else is in it"
        visit.project.bus.emit(events.Notice(visit.habitat.name, text))


def _ended(project: Project, habitat: Habitat, container: Container, secrets: tuple[Value, ...]) -> StartError | None:
    """What to say when the main process of the container has ended; None while it runs.

    That is root's, and so may have printed what only USER was given.
    """
    now = project.engine.container(container.id)
    if now and now.running:
        return None
    try:
        said = "\n".join(project.engine.logs(container.id, 20))
    except (NotFound, Conflict):  # gone, or going
        return StartError(f"container {container.name} was removed", where=habitat.name, remedy="start it again")
    init = habitat.entry.init_command
    return StartError(
        f"the init command ended: {init}" if init else f"container {container.name} was stopped",
        where=habitat.name,
        remedy=f"{'it has to go on running; ' if init else ''}see docker logs {container.name}",
        output=Mask(value.data for value in secrets).text(said).splitlines(),
    )
