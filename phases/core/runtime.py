"""Starts a built habitat: its container, its init, and its command."""

from __future__ import annotations

import os
import re
import shlex
import time
from typing import TYPE_CHECKING, Protocol

from phases.core import events, snapshots
from phases.core.build_container import IDLE, ended_under
from phases.core.errors import Conflict, EngineError, NotFound, StartError
from phases.core.project import binds_of

if TYPE_CHECKING:
    from phases.core.engine import Container, Engine, Exec
    from phases.core.model import Habitat
    from phases.core.project import Project

#: Marks the container of `start`, and says whose it is.
LABEL_RUN = "habitat.run"

# Words that a shell would leave as they are; anything else needs one.
_PLAIN = re.compile(r"[\w@%+=:,./\s-]+", re.ASCII)


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

    def hand_over(self, process: Exec) -> None:
        """Connect the terminal to the command until it ends."""

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
    presence = project.presence(name)
    with presence.entering() as join:
        container = _container(project, habitat)
        join(container.id)
    own = 0

    def leave() -> None:
        with presence.leaving() as alone:
            _leave(project, habitat.name, container, alone=alone, own=own)

    project.open_ends[name] = leave
    try:
        _await_init(project, habitat, container)
        own = 1  # a command that a signal interrupts still runs in the container, and ends with it
        code = _run_command(project, habitat, container, terminal)
        own = 0
        if ended_under(project.engine, container.id, code) and (ended := _ended(project, habitat, container)):
            raise ended
    except EngineError as error:
        own = 0
        raise _ended(project, habitat, container) or error from error
    finally:
        if project.open_ends.pop(name, None):
            leave()
    return code


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
    as_now = (image.id, _main_process(habitat), set(binds_of(habitat)))
    if found and (found.image, found.command, set(found.binds)) != as_now:
        _keep(project, habitat.name, found)
        found = None
    fresh = found is None
    if found is None:
        engine.create(
            snapshots.final_tag(habitat.name),
            name,
            _main_process(habitat),
            labels={LABEL_RUN: habitat.name},
            binds=binds_of(habitat),
            hostname=habitat.name[:63],
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


def _keep(project: Project, habitat: str, old: Container) -> None:
    """Set a container of an older image aside; somebody's work may be in it."""
    stamped = f"{old.name}-{time.strftime('%Y%m%d-%H%M%S')}"
    names = (stamped, *(f"{stamped}-{number}" for number in range(2, 1000)))
    aside = next(name for name in names if not project.engine.container(name))
    project.engine.rename(old.id, aside)
    text = f"{old.name} was made from an older image: kept as {aside}"
    if old.running and project.engine.running_execs(old.id):
        text += ", where somebody is at work"
    else:
        project.engine.stop(old.id)
        text += f"; when you need nothing of it: docker rm {aside}"
    project.bus.emit(events.Notice(habitat, text))


def _main_process(habitat: Habitat) -> tuple[str, ...]:
    """The init command, or an init that idles. A plain command becomes the main process itself."""
    text = habitat.entry.init_command
    if not text:
        return IDLE
    return tuple(shlex.split(text)) if _PLAIN.fullmatch(text) else ("/bin/sh", "-c", text)


def _await_init(project: Project, habitat: Habitat, container: Container) -> None:
    """Give the init its startup_delay, and notice when it ends instead."""
    until = time.monotonic() + habitat.entry.startup_delay
    if habitat.entry.startup_delay:
        project.bus.emit(events.Notice(habitat.name, f"giving its init {habitat.entry.startup_delay:g}s"))
    while True:
        if ended := _ended(project, habitat, container):
            raise ended
        left = until - time.monotonic()
        if left <= 0:
            return
        time.sleep(min(left, 0.2))


def _ended(project: Project, habitat: Habitat, container: Container) -> StartError | None:
    """What to say when the main process of the container has ended; None while it runs."""
    now = project.engine.container(container.id)
    if now and now.running:
        return None
    try:
        output = project.engine.logs(container.id, 20)
    except (NotFound, Conflict):  # gone, or going
        return StartError(f"container {container.name} was removed", where=habitat.name, remedy="start it again")
    init = habitat.entry.init_command
    return StartError(
        f"the init command ended: {init}" if init else f"container {container.name} was stopped",
        where=habitat.name,
        remedy=f"{'it has to go on running; ' if init else ''}see docker logs {container.name}",
        output=output,
    )


def _run_command(project: Project, habitat: Habitat, container: Container, terminal: Terminal) -> int:
    command = habitat.entry.command
    if not command and not terminal.interactive:
        project.bus.emit(events.Notice(habitat.name, "there is no entry.command and no terminal: nothing to run"))
        return 0
    argv = ("/bin/sh", "-c", "--", command) if command else _SHELL
    project.bus.emit(events.Handover(habitat.name, on=True))
    try:
        run = _interactively if terminal.interactive else _streamed
        return run(project.engine, habitat, container, argv, terminal)
    finally:
        project.bus.emit(events.Handover(habitat.name, on=False))


def _streamed(engine: Engine, habitat: Habitat, container: Container, argv: tuple[str, ...], terminal: Terminal) -> int:
    return engine.execute(container.id, argv, user=habitat.user, workdir=habitat.workdir, on_output=terminal.write)


def _interactively(
    engine: Engine, habitat: Habitat, container: Container, argv: tuple[str, ...], terminal: Terminal
) -> int:
    env = {name: os.environ[name] for name in ("TERM", "COLORTERM") if name in os.environ}
    process = engine.execute_tty(
        container.id, argv, user=habitat.user, workdir=habitat.workdir, env=env, size=terminal.size
    )
    try:
        terminal.hand_over(process)
        return process.exit_code()
    finally:
        process.close()
