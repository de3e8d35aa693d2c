"""Starts a built habitat: its container, its init, and its command."""

from __future__ import annotations

import os
import re
import shlex
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Protocol

from phases.core import events, snapshots
from phases.core.build_container import IDLE, ended_under
from phases.core.engine import Confinement, Tmpfs
from phases.core.errors import Conflict, EngineError, NotFound, StartError
from phases.core.masking import Mask
from phases.core.project import binds_of
from phases.core.secrets import deliver, variables
from phases.protocol import SECRETS_FOLDER

if TYPE_CHECKING:
    from phases.core.engine import Container, Engine, Exec
    from phases.core.model import Habitat
    from phases.core.project import Project
    from phases.core.secrets import Value

#: Marks the container of `start`, and says whose it is.
LABEL_RUN = "habitat.run"

#: Says what holds it in: engines tell the same limits in different words.
LABEL_CONFINEMENT = "habitat.confinement"

# Words that a shell would leave as they are; anything else needs one.
_PLAIN = re.compile(r"(?!\w+=)[\w@%+=:,./ \t-]+", re.ASCII)


# Where there is no entry.command: the shell that a person would rather have.
_SHELL = ("/bin/sh", "-c", "if command -v bash >/dev/null; then exec bash; fi; exec /bin/sh")


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

    def write(self, data: bytes, is_err: bool) -> None:
        """Pass on what a command printed."""


def container_name(habitat: str) -> str:
    return f"habitat-{habitat}"


def start(project: Project, name: str, terminal: Terminal) -> int:
    """Run the habitat's command in its container, and stop that when the command ends.

    Returns the command's exit code. The container is used again while its image is still the same;
    one made from an older image is kept under another name. Raises HabitatError.
    """
    habitat = project.habitat(name)
    project.release(name)  # its command may go on for hours
    _warn_of_engine(project, habitat)
    secrets = project.vault.values(secret for secret in habitat.secrets if secret.start)
    presence = project.presence(name)
    own = 0

    def enter() -> Container:
        with presence.entering() as join:
            container = _container(project, habitat)
            join(container.id)
            project.open_ends[name] = lambda: leave(container)
        return container

    def leave(container: Container) -> None:
        with presence.leaving() as alone:
            _leave(project, habitat.name, container, alone=alone, own=own)

    container = project.maker.make(enter)
    try:
        deliver(project.engine, container.id, secrets, habitat.user)
        _await_init(project, habitat, container, secrets)
        own = 1  # a command that a signal interrupts still runs in the container, and ends with it
        code = _run_command(project, habitat, container, terminal, secrets)
        own = 0
        if ended_under(project.engine, container.id, code) and (ended := _ended(project, habitat, container, secrets)):
            raise ended
    except EngineError as error:
        own = 0
        raise _ended(project, habitat, container, secrets) or error from error
    finally:
        if project.open_ends.pop(name, None):
            leave(container)
    return code


def _warn_of_engine(project: Project, habitat: Habitat) -> None:
    for volume in habitat.volumes:
        if volume.engine_socket:
            text = f"{volume.shown} gives {habitat.name} the engine: whatever runs in it can be root on this machine"
            project.bus.emit(events.Notice(habitat.name, text, warning=True))


def _confinement(habitat: Habitat) -> Confinement:
    """What holds an agent in: no way to more privileges than USER's, and what the config says."""
    entry = habitat.entry
    limits = asdict(entry.limits)
    return Confinement(privileges=False, network=entry.network != "none", **limits)


def _leave(project: Project, habitat: str, container: Container, *, alone: bool, own: int) -> None:
    """Stop the container, unless somebody else is in it. own: commands of this start still in it."""
    engine = project.engine
    try:
        others = engine.running_execs(container.id) > own
    except NotFound:
        return  # somebody has removed it
    if alone and not others:
        engine.stop(container.id)
    else:
        project.bus.emit(events.Notice(habitat, f"{container.name} goes on: somebody else is in it"))


def _container(project: Project, habitat: Habitat) -> Container:
    """The habitat's container, running."""
    engine, name = project.engine, container_name(habitat.name)
    image = project.inventory.tagged(snapshots.final_tag(habitat.name))
    if image is None:
        raise StartError(f"image {snapshots.final_tag(habitat.name)} is gone", remedy="run the same command again")
    found = engine.container(name)
    if found and found.labels.get(LABEL_RUN) != habitat.name:
        raise Conflict(
            f"the container name {name} is taken by a container of somebody else",
            remedy=f"rename that one: docker rename {name} OTHER",
        )
    confinement = _confinement(habitat)
    held = " ".join(f"{key}={value:g}" for key, value in asdict(confinement).items())
    as_now = (image.id, _main_process(habitat), set(binds_of(habitat)), held)
    if found and (found.image, found.command, set(found.binds), found.labels.get(LABEL_CONFINEMENT)) != as_now:
        made = "from an older image" if found.image != image.id else "with another config"
        _keep(project, habitat.name, found, made)
        found = None
    fresh = found is None
    if found is None:
        engine.create(
            snapshots.final_tag(habitat.name),
            name,
            _main_process(habitat),
            labels={LABEL_RUN: habitat.name, LABEL_CONFINEMENT: held},
            mounts=(*binds_of(habitat), Tmpfs(SECRETS_FOLDER)),
            hostname=habitat.name[:63],
            confinement=confinement,
        )
        found = engine.container(name)
        assert found, "a container just made is there"
    if not found.running:
        try:
            engine.start(found.id)
        except EngineError as error:
            if fresh:
                engine.remove(found.id)  # nothing was done in it
            init = habitat.entry.init_command
            raise StartError(
                f"container {name} can't be started ({error.message})",
                where=habitat.name,
                remedy=f"see that the image has {init.split()[0]}" if init else "see what it says is missing or taken",
            ) from error
    return found


def _keep(project: Project, habitat: str, old: Container, made: str) -> None:
    """Set aside a container that was `made` otherwise than one would be now; somebody's work may be in it."""
    stamped = f"{old.name}-{time.strftime('%Y%m%d-%H%M%S')}"
    names = (stamped, *(f"{stamped}-{number}" for number in range(2, 1000)))
    aside = next(name for name in names if not project.engine.container(name))
    project.engine.rename(old.id, aside)
    text = f"{old.name} was made {made}: kept as {aside}"
    if old.running and project.engine.running_execs(old.id):
        text += ", where somebody is at work"
    else:
        project.engine.stop(old.id)
        text += f"; when you need nothing of it: docker rm {aside}"
    project.bus.emit(events.Notice(habitat, text))


def _main_process(habitat: Habitat) -> tuple[str, ...]:
    """The init command, or an init that idles. A plain command becomes the main process itself."""
    text = habitat.entry.init_command.strip()
    if not text:
        return IDLE
    return tuple(shlex.split(text)) if _PLAIN.fullmatch(text) else ("/bin/sh", "-c", text)


def _await_init(project: Project, habitat: Habitat, container: Container, secrets: tuple[Value, ...]) -> None:
    """Give the init its startup_delay, and notice when it ends instead."""
    until = time.monotonic() + habitat.entry.startup_delay
    if habitat.entry.startup_delay:
        project.bus.emit(events.Notice(habitat.name, f"giving its init {habitat.entry.startup_delay:g}s"))
    while True:
        if ended := _ended(project, habitat, container, secrets):
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


def _run_command(
    project: Project, habitat: Habitat, container: Container, terminal: Terminal, secrets: tuple[Value, ...]
) -> int:
    command = habitat.entry.command
    if not command and not terminal.interactive:
        project.bus.emit(events.Notice(habitat.name, "there is no entry.command and no terminal: nothing to run"))
        return 0
    argv = ("/bin/sh", "-c", "--", command) if command else _SHELL
    project.bus.emit(events.Handover(habitat.name, on=True))
    try:
        run = _interactively if terminal.interactive else _streamed
        return run(project.engine, habitat, container, argv, terminal, secrets)
    finally:
        project.bus.emit(events.Handover(habitat.name, on=False))


def _streamed(
    engine: Engine,
    habitat: Habitat,
    container: Container,
    argv: tuple[str, ...],
    terminal: Terminal,
    secrets: tuple[Value, ...],
) -> int:
    masks = {is_err: Mask(value.data for value in secrets) for is_err in (False, True)}

    def show(data: bytes, is_err: bool) -> None:
        if data:
            terminal.write(data, is_err)

    code = engine.execute(
        container.id,
        argv,
        user=habitat.user,
        workdir=habitat.workdir,
        env=variables(secrets),
        on_output=lambda data, is_err: show(masks[is_err].feed(data), is_err),
    )
    for is_err, mask in masks.items():
        show(mask.flush(), is_err)
    return code


def _interactively(
    engine: Engine,
    habitat: Habitat,
    container: Container,
    argv: tuple[str, ...],
    terminal: Terminal,
    secrets: tuple[Value, ...],
) -> int:
    env = {name: os.environ[name] for name in ("TERM", "COLORTERM") if name in os.environ} | variables(secrets)
    process = engine.execute_tty(
        container.id, argv, user=habitat.user, workdir=habitat.workdir, env=env, size=terminal.size
    )
    try:
        terminal.hand_over(process, Mask((value.data for value in secrets), keep_width=True))
        return process.exit_code()
    finally:
        process.close()
