"""Errors about a container that gets no port, or whose main process has ended."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from msgspec.structs import replace

from phases.core import command_form
from phases.core.cache import image_labels
from phases.core.container import memory_limit, shell_errors
from phases.core.errors import Conflict, HabitatError, NotFound, StartError
from phases.core.runtime.output_check import output_check
from phases.core.runtime.own_containers import container_name, is_new, owner

if TYPE_CHECKING:
    from phases.core.engine.types import Container, PortRefused
    from phases.core.model import Habitat, Value
    from phases.core.project import Project
    from phases.core.secrets.fingerprints import OutputCheck

# Lines of the container's log that an error shows.
_LOG_LINES = 20


def port_error(project: Project, habitat: Habitat, error: PortRefused) -> StartError:
    """Return the error for a refused port. It names the container that uses the port, if one does."""
    address = error.port.address
    where = next((port.origin for port in habitat.entry.ports if port == error.port), None) or habitat.name
    if not error.taken:
        problem = f"port {address} can't be published ({error.message})"
        remedy = "check that it is an address of this machine and a port that you may use"
        return StartError(problem, where=where, remedy=remedy)
    running = (container for container in project.engine.containers() if container.running)
    holder = next((one for one in running if any(port.meets(error.port) for port in one.ports)), None)
    other_habitat = owner(project, holder) if holder else ""
    is_foreign = holder is not None and project.identity.is_foreign(holder.labels)
    if other_habitat and holder and not is_foreign and holder.name == container_name(other_habitat):
        name = project.names.habitat(other_habitat, project.habitats.names)
        is_found = project.names.of(name) == other_habitat  # not the one of an earlier name
        stop = command_form.verb("stop", name) if is_found else f"docker stop {holder.name}"
        by, remedy = f" by {holder.name}", f"`{stop}` frees it"
    elif holder:
        by, remedy = f" by the container {holder.name}", f"`docker stop {holder.name}` frees it"
    else:
        by, remedy = " by a program on this machine", "stop that program"
    any_port = f"or write {replace(error.port, host=0).written} for one that is free"
    return StartError(f"port {address} is taken{by}", where=where, remedy=f"{remedy}, {any_port}")


def end_error(
    project: Project, habitat: Habitat, container: Container, secrets: tuple[Value, ...]
) -> HabitatError | None:
    """Return the error if the container's main process has ended, None while it runs.

    The process runs as root. So its output may contain secrets that only USER was given, and is checked for them.
    """
    current = project.engine.container(container.id)
    if current and current.running:
        return None
    if error := shell_error(project, habitat, container):
        return error
    try:
        log = "\n".join(project.engine.logs(container.id, _LOG_LINES))
    except (NotFound, Conflict):  # it is removed, or is being removed
        remedy = f"`{command_form.verb('start', habitat.name)}` makes a new one"
        return StartError(f"container {container.name} was removed", where=habitat.name, remedy=remedy)
    init = habitat.entry.init_command
    limit, killed = habitat.entry.limits.memory, ""
    if current and current.out_of_memory and limit:
        killed = f" ({memory_limit.message('entry.limits.memory', limit)})"
    remedies = ["raise the limit"] if killed else [_init_remedy(project, log)] if init else []
    if not is_new(container.name):  # such a one is removed
        remedies.append(f"see docker logs {container.name}")
    return StartError(
        (f"the init command ended: {init}" if init else f"container {container.name} was stopped") + killed,
        where=habitat.name,
        remedy="; ".join(remedies) or "run the same command again",
        output=_masked(output_check(project, habitat.name, container, secrets), log),
    )


def _init_remedy(project: Project, log: str) -> str:
    """Return the remedy for an init command that ended. The log is not shown here, so it need not be masked."""
    from phases.core.container.remedies import architecture_remedy  # imported late, since its patterns take time

    default = "write an entry.init_command that keeps running"
    return architecture_remedy(log, project.engine.platform) or default


def shell_error(project: Project, habitat: Habitat, container: Container) -> HabitatError | None:
    """Return the error if the container ended because the shell of its image can't run.

    A container with an init command has no such error: its log is the output of that command.
    """
    engine, image = project.engine, image_labels.final_tag(project.names.of(habitat.name))
    with suppress(NotFound, Conflict):  # it is removed, or is being removed
        if not habitat.entry.init_command and (
            reason := shell_errors.reason_in_log(engine.logs(container.id, _LOG_LINES))
        ):
            return shell_errors.shell_error(engine, container.id, habitat, image, reason)
    return None


def _masked(check: OutputCheck, log: str) -> list[str]:
    """Return the lines of a log without secrets, or why they are not shown."""
    mask = check.mask()
    if not log:
        return []
    return mask.text(log).splitlines() if mask else [check.why_not]
