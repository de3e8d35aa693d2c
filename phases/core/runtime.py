"""Starts a built habitat: its container, its init, and its command."""

from __future__ import annotations

import os
import re
import shlex
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeAlias

from phases.core import events, snapshots
from phases.core.build_container import IDLE, ended_under
from phases.core.engine import Confinement, Tmpfs
from phases.core.errors import Conflict, EngineError, NotFound, StartError
from phases.core.masking import Mask
from phases.core.project import binds_of
from phases.core.secrets import deliver, variables, withdraw
from phases.protocol import SECRETS_FOLDER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from phases.core.engine import Container, Exec, Piped
    from phases.core.locks import Presence
    from phases.core.model import Habitat
    from phases.core.project import Project
    from phases.core.secrets import Value

#: Marks the container of `start`, and says whose it is.
LABEL_RUN = "habitat.run"

#: Says what holds it in: engines tell the same limits in different words.
LABEL_CONFINEMENT = "habitat.confinement"

# Words that a shell would leave as they are; anything else needs one.
_PLAIN = re.compile(r"(?!\w+=)[\w@%+=:,./ \t-]+", re.ASCII)


#: The shell that a person would rather have.
SHELL = ("/bin/sh", "-c", "if command -v bash >/dev/null; then exec bash; fi; exec /bin/sh")


class Terminal(Protocol):
    """Where the person is."""

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns."""

    @property
    def interactive(self) -> bool:
        """Whether there is a terminal to hand over."""

    def hand_over(self, process: Exec, mask: Mask) -> None:
        """Connect the terminal to the command until it ends. mask: for what is shown."""

    @property
    def piped(self) -> bool:
        """Whether somebody has put something else in the place of the keyboard."""

    def connect(self, process: Piped, show: Callable[[bytes, bool], None]) -> None:
        """Pass on what is put in to the command, and what it prints to `show`, until it ends."""

    def write(self, data: bytes, is_err: bool) -> None:
        """Pass on what a command printed."""


def container_name(habitat: str) -> str:
    return f"habitat-{habitat}"


@dataclass
class Visit:
    """Somebody in a running habitat. user, workdir: of the commands; own: how many of them may still run
    in it.
    """

    project: Project
    habitat: Habitat
    container: Container
    secrets: tuple[Value, ...]
    user: str
    workdir: str
    presence: Presence | None = None
    own: int = 0

    def run(self, argv: Sequence[str], how: Runner) -> int:
        """Run a command in it. Returns its exit code; raises StartError when the container ended under it."""
        self.own = 1  # a command that a signal interrupts still runs in the container, and ends with it
        self.project.bus.emit(events.Handover(self.habitat.name, on=True))
        try:
            code = how(self, argv)
        finally:
            self.project.bus.emit(events.Handover(self.habitat.name, on=False))
        self.own = 0
        if ended_under(self.project.engine, self.container.id, code) and (ended := self.ended()):
            raise ended
        return code

    def stay(self) -> None:
        """Have the container stay up when nobody is in it any more."""
        if self.presence:
            self.presence.stay()

    def ended(self) -> StartError | None:
        return _ended(self.project, self.habitat, self.container, self.secrets)


#: Runs a command of a visit to its end, and returns its exit code.
Runner: TypeAlias = "Callable[[Visit, Sequence[str]], int]"

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
    with visiting(project, name, partial(brought_up, fresh=fresh)) as visit:
        command = command or visit.habitat.entry.command
        if not command and not terminal.interactive:
            project.bus.emit(events.Notice(name, "there is no entry.command and no terminal: nothing to run"))
            return 0
        argv = ("/bin/sh", "-c", "--", command) if command else SHELL
        return visit.run(argv, interactively(terminal) if terminal.interactive else _streamed(terminal))


def start_detached(project: Project, name: str, *, fresh: bool = False) -> None:
    """Bring the habitat's container up, secrets and init included, and leave it up. Raises HabitatError."""
    with visiting(project, name, partial(brought_up, fresh=fresh)) as visit:
        visit.stay()
    text = f"{container_name(name)} is up: doit shell:{name} gets you in, doit stop:{name} stops it"
    project.bus.emit(events.Notice(name, text))


@contextmanager
def visiting(project: Project, name: str, bring_up: BringUp, *, guest: bool = False) -> Iterator[Visit]:
    """Be in a habitat's running container, which is stopped by whoever leaves it last. guest: what runs
    already is ready, however long ago it began. Raises HabitatError.
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
        _await_init(visit, 0 if guest and was_running else habitat.entry.startup_delay)
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


def confinement(habitat: Habitat) -> Confinement:
    """What holds an agent in: no way to more privileges than USER's, and what the config says."""
    entry = habitat.entry
    limits = asdict(entry.limits)
    return Confinement(privileges=False, network=entry.network != "none", **limits)


def _leave(visit: Visit, *, last: bool) -> None:
    """Stop the container, unless somebody else is in it."""
    engine, container = visit.project.engine, visit.container
    try:
        others = engine.running_execs(container.id) > visit.own
    except NotFound:
        return  # somebody has removed it
    if last and not others:
        engine.stop(container.id)
    else:
        text = f"{container.name} goes on: somebody else is in it"
        visit.project.bus.emit(events.Notice(visit.habitat.name, text))


def own_container(project: Project, name: str) -> Container | None:
    """The habitat's container, None where there is none. Raises Conflict when its name is somebody else's."""
    found = project.engine.container(container_name(name))
    if found and found.labels.get(LABEL_RUN) != name:
        raise Conflict(
            f"the container name {found.name} is taken by a container of somebody else",
            remedy=f"rename that one: docker rename {found.name} OTHER",
        )
    return found


def brought_up(project: Project, habitat: Habitat, *, fresh: bool = False) -> tuple[Container, bool]:
    """The habitat's container as it is to be now, running, and whether it was before. fresh: a new one."""
    image = project.inventory.tagged(snapshots.final_tag(habitat.name))
    if image is None:
        raise StartError(f"image {snapshots.final_tag(habitat.name)} is gone", remedy="run the same command again")
    found = own_container(project, habitat.name)
    as_now = (image.id, _main_process(habitat), set(binds_of(habitat)), _held(habitat))
    if found and (found.image, found.command, set(found.binds), found.labels.get(LABEL_CONFINEMENT)) != as_now:
        _keep(project, habitat, found, "from an older image" if found.image != image.id else "with another config")
    elif found and fresh:
        _keep(project, habitat, found, "by an earlier start")
    elif found:
        if not found.running:
            _start(project, habitat, found)
        return found, found.running
    found = _made(project, habitat)
    try:
        _start(project, habitat, found)
    except StartError:
        project.engine.remove(found.id)  # nothing was done in it
        raise
    return found, False


def _made(project: Project, habitat: Habitat) -> Container:
    container = project.engine.create(
        snapshots.final_tag(habitat.name),
        container_name(habitat.name),
        _main_process(habitat),
        labels={LABEL_RUN: habitat.name, LABEL_CONFINEMENT: _held(habitat)},
        mounts=(*binds_of(habitat), Tmpfs(SECRETS_FOLDER)),
        hostname=habitat.name[:63],
        confinement=confinement(habitat),
    )
    found = project.engine.container(container)
    assert found, "a container just made is there"
    return found


def _held(habitat: Habitat) -> str:
    return " ".join(f"{key}={value:g}" for key, value in asdict(confinement(habitat)).items())


def _start(project: Project, habitat: Habitat, container: Container) -> None:
    try:
        project.engine.start(container.id)
    except EngineError as error:
        init = habitat.entry.init_command
        raise StartError(
            f"container {container.name} can't be started ({error.message})",
            where=habitat.name,
            remedy=f"see that the image has {init.split()[0]}" if init else "see what it says is missing or taken",
        ) from error


def _keep(project: Project, habitat: Habitat, old: Container, made: str) -> None:
    """Set aside a container that was `made` otherwise than one would be now; somebody's work may be in it."""
    stamped = f"{old.name}-{time.strftime('%Y%m%d-%H%M%S')}"
    names = (stamped, *(f"{stamped}-{number}" for number in range(2, 1000)))
    aside = next(name for name in names if not project.engine.container(name))
    project.engine.rename(old.id, aside)
    project.presence(habitat.name).forget(old.id)
    text = f"{old.name} was made {made}: kept as {aside}"
    if old.running and project.engine.running_execs(old.id):
        text += ", where somebody is at work"
    else:
        project.engine.stop(old.id)
        text += f"; when you need nothing of it: docker rm {aside}"
    project.bus.emit(events.Notice(habitat.name, text))


def _main_process(habitat: Habitat) -> tuple[str, ...]:
    """The init command, or an init that idles. A plain command becomes the main process itself."""
    text = habitat.entry.init_command.strip()
    if not text:
        return IDLE
    return tuple(shlex.split(text)) if _PLAIN.fullmatch(text) else ("/bin/sh", "-c", text)


def _await_init(visit: Visit, delay: float) -> None:
    """Give the init its startup_delay, and notice when it ends instead."""
    until = time.monotonic() + delay
    if delay:
        visit.project.bus.emit(events.Notice(visit.habitat.name, f"giving its init {delay:g}s"))
    while True:
        if ended := visit.ended():
            raise ended
        left = until - time.monotonic()
        if left <= 0:
            return
        time.sleep(min(left, 0.2))


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


def _streamed(terminal: Terminal) -> Runner:
    """Passes on what the command prints; it gets no input."""

    def run(visit: Visit, argv: Sequence[str]) -> int:
        show = Masked(terminal, visit.secrets)
        code = visit.project.engine.execute(
            visit.container.id,
            argv,
            user=visit.user,
            workdir=visit.workdir,
            env=variables(visit.secrets),
            on_output=show.feed,
        )
        show.flush()
        return code

    return run


def interactively(terminal: Terminal) -> Runner:
    """Hands the terminal over to the command."""

    def run(visit: Visit, argv: Sequence[str]) -> int:
        secrets = visit.secrets
        env = {name: os.environ[name] for name in ("TERM", "COLORTERM") if name in os.environ} | variables(secrets)
        process = visit.project.engine.execute_tty(
            visit.container.id,
            argv,
            user=visit.user,
            workdir=visit.workdir,
            env=env,
            size=terminal.size,
        )
        try:
            terminal.hand_over(process, Mask((value.data for value in secrets), keep_width=True))
            return process.exit_code()
        finally:
            process.close()

    return run


class Masked:
    """Passes output on to a terminal without the secrets in it, each of its two streams for itself."""

    def __init__(self, terminal: Terminal, secrets: Sequence[Value]) -> None:
        self._terminal = terminal
        self._masks = {is_err: Mask(value.data for value in secrets) for is_err in (False, True)}

    def feed(self, data: bytes, is_err: bool) -> None:
        self._show(self._masks[is_err].feed(data), is_err)

    def flush(self) -> None:
        for is_err, mask in self._masks.items():
            self._show(mask.flush(), is_err)

    def _show(self, data: bytes, is_err: bool) -> None:
        if data:
            self._terminal.write(data, is_err)
