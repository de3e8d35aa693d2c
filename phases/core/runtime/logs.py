"""Shows the logs of a habitat: of its phases, and of its container's main process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phases.core import command_form, events
from phases.core.engine.output import LineSplitter
from phases.core.errors import StartError, did_you_mean, state_error
from phases.core.files import safe_open
from phases.core.runtime.output_check import output_check
from phases.core.runtime.own_containers import container_name, own_container

if TYPE_CHECKING:
    from phases.core.engine.types import Container
    from phases.core.project import Project
    from phases.protocol import Phase

# About the bytes of a log that are shown at once: a log may have millions of lines.
_BLOCK = 1 << 16


def show(project: Project, name: str) -> None:
    """Show all logs."""
    phases = [phase for phase in project.phases(name) if _size(project, name, phase)]
    for phase in phases:
        _show_phase(project, name, phase)
    container = own_container(project, name)
    if container:
        _show_container(project, name, container)
    elif not phases:
        text = f"{name} has no logs yet: `{command_form.verb('start', name)}` builds and starts it"
        project.bus.emit(events.Notice(name, text))


def show_phase(project: Project, name: str, phase_name: str) -> None:
    """Show the log of one phase. Raises StartError if there is none."""
    phases = {phase.NAME: phase for phase in project.phases(name)}
    if phase_name not in phases:
        remedy = did_you_mean(phase_name, phases, in_order=True)
        raise StartError(f"there is no phase '{phase_name}'", where=name, remedy=remedy)
    if _size(project, name, phases[phase_name]) is None:
        raise StartError(
            f"there is no log of {phase_name}",
            where=name,
            remedy=f"it was not built here; `{command_form.phase(phase_name, name)}` builds it",
        )
    _show_phase(project, name, phases[phase_name])


def follow(project: Project, name: str) -> None:
    """Show the output of the container's main process until it ends. Raises StartError if there is no container."""
    container = own_container(project, name)
    if container is None:
        raise StartError(
            f"there is no container {container_name(project.names.of(name))}",
            where=name,
            remedy=f"`{command_form.verb('start', name)}` creates it",
        )
    _show_container(project, name, container, follow=True)


def _size(project: Project, name: str, phase: Phase) -> int | None:
    """Return the size of a phase's log, None if there is none."""
    try:
        return project.log_path(name, phase).stat().st_size
    except FileNotFoundError:
        return None


def _show_phase(project: Project, name: str, phase: Phase) -> None:
    path = project.log_path(name, phase)
    empty = "" if _size(project, name, phase) else ": empty"
    heading = f"── {phase.NAME} ({path.relative_to(project.root)}){empty}"
    project.bus.emit(events.Line(name, heading, heading=True, source=phase.NAME))
    try:
        with safe_open.open_read(path) as file:
            while block := file.readlines(_BLOCK):
                lines = tuple(line.rstrip(b"\n").decode(errors="replace") for line in block)
                project.bus.emit(events.LineBlock(name, lines, phase.NAME))
    except OSError as error:
        raise state_error(path, "read", error) from error


def _show_container(project: Project, name: str, container: Container, *, follow: bool = False) -> None:
    """Show the log of a container.

    Raises:
        StartError: The container is given a secret meanwhile that this host doesn't have.
    """

    def on_line(text: str, *, heading: bool = False) -> None:
        project.bus.emit(events.Line(name, text, source=container.name, heading=heading))

    on_line(f"── {container.name} ({'running' if container.running else 'stopped'})", heading=True)
    check = output_check(project, name, container)
    mask = check.mask()
    if mask is None:
        project.bus.emit(events.Notice(name, check.why_not))
        return
    splitter = LineSplitter(on_line, mask)

    def on_output(data: bytes) -> None:
        nonlocal splitter
        if check.refresh():
            mask = check.mask()
            splitter.close()
            if mask is None:
                raise StartError(check.why_not, where=name)
            splitter = LineSplitter(on_line, mask)
        splitter.feed(data)

    project.engine.output(container.id, on_output, follow=follow)
    splitter.close()
