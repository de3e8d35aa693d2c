"""Runs commands and shells in a habitat, which is started if it doesn't run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phases.core import command_form, events
from phases.core.cache import image_labels
from phases.core.errors import StartError
from phases.core.runtime.container import ensure_running, start_if_stopped
from phases.core.runtime.own_containers import own_container
from phases.core.runtime.session.attach import SHELL, run_in_tty, run_piped, run_shell
from phases.core.runtime.session.open import open_session
from phases.core.runtime.temporary import open_temporary_session

if TYPE_CHECKING:
    from collections.abc import Sequence

    from phases.core.engine.types import Container
    from phases.core.model import Habitat
    from phases.core.project import Project
    from phases.core.runtime.session.attach import Terminal


def execute(project: Project, name: str, argv: Sequence[str], terminal: Terminal) -> int:
    """Run a command as USER in WORKDIR, with a terminal or with pipes. Returns its exit code."""
    with open_session(project, name, find_or_start, skip_delay_if_running=True) as session:
        if session.was_started and session.habitat.entry.ports:
            from phases.core.runtime.session import ports  # imported late: most habitats publish no port

            ports.report(session)
        return session.run(argv, run_in_tty(terminal) if terminal.interactive else run_piped(terminal))


def shell(project: Project, name: str, terminal: Terminal, *, at: str = "") -> int:
    """Run a shell as USER in WORKDIR. Without a terminal, it reads its commands from standard input.

    Args:
        project: The project.
        name: The name of the habitat.
        terminal: Where the input comes from and the output goes to.
        at: The name of a phase: run the shell in a temporary container of its snapshot. "" for the habitat's own.

    Returns:
        The exit code of the shell.
    """
    runner = run_shell(terminal, name, f"`{command_form.verb('exec', name)} -- COMMAND` runs a command without one")
    if at:
        opened = open_temporary_session(project, name, at)
    else:
        opened = open_session(project, name, find_or_start, skip_delay_if_running=True)
    with opened as session:
        if session.habitat.entry.ports:
            from phases.core.runtime.session import ports  # imported late: most habitats publish no port

            report = ports.report if session.was_started else ports.warn_of_unreachable
            report(session)
        return session.run(SHELL, runner)


def find_or_start(project: Project, habitat: Habitat, *, fresh: bool = False) -> tuple[Container, bool]:
    """Return the habitat's running container, or start it without building anything.

    Args:
        project: The project.
        habitat: The habitat.
        fresh: Whether to create a new container in any case. Otherwise one that runs is used whatever its image is.

    Returns:
        The container, and whether it was running.
    """
    found = own_container(project, habitat.name)
    if found and found.running and not fresh:
        return start_if_stopped(project, habitat, found)
    image = project.assess(habitat.name).final or _outdated_image(project, habitat.name)
    return ensure_running(project, habitat, image=image, fresh=fresh)


def _outdated_image(project: Project, name: str) -> str:
    """Return the id of the image that was built from an earlier config. Raises StartError."""
    engine_name = project.names.of(name)
    image = project.image_index.tagged(image_labels.final_tag(engine_name))
    if image is None:
        remedy = f"`{command_form.verb('start', name)}` builds and starts it"
        raise StartError("it isn't built yet", where=name, remedy=remedy)
    labels = image.labels
    if (labels.get(image_labels.LABEL_NAME), labels.get(image_labels.LABEL_PHASE)) != (engine_name, "final"):
        raise StartError(
            f"{image_labels.final_tag(engine_name)} is an image that was not built for {name}",
            where=name,
            remedy=f"`{command_form.phase('final', name)}` builds it and moves the tag",
        )
    text = f"{name} was built from an older config: `{command_form.phase('final', name)}` rebuilds it"
    project.bus.emit(events.Notice(name, text, warning=True))
    return image.id
