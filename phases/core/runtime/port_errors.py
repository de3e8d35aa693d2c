"""The error for a port that the host doesn't give to a container."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from phases.core.build.ownership import container_name, owner
from phases.core.errors import PortRefused, StartError

if TYPE_CHECKING:
    from phases.core.model import Habitat
    from phases.core.project import Project


def port_error(project: Project, habitat: Habitat, error: PortRefused) -> StartError:
    """Return the error, which names the container that has the port if there is one."""
    address = error.port.address
    where = next((port.origin for port in habitat.entry.ports if port == error.port), None) or habitat.name
    if not error.taken:
        problem = f"port {address} can't be published ({error.message})"
        remedy = "check that it is an address of this machine and a port that you may use"
        return StartError(problem, where=where, remedy=remedy)
    running = (container for container in project.engine.containers() if container.running)
    holder = next((one for one in running if any(port.meets(error.port) for port in one.ports)), None)
    other_habitat = owner(project, holder) if holder else ""
    if other_habitat and holder and holder.name == container_name(other_habitat):
        by, remedy = f" by {holder.name}", f"doit stop:{other_habitat} frees it"
    elif holder:
        by, remedy = f" by the container {holder.name}", f"docker stop {holder.name} frees it"
    else:
        by, remedy = " by a program on this machine", "stop that program"
    any_port = f"or write {replace(error.port, host=0).written} for one that is free"
    return StartError(f"port {address} is taken{by}", where=where, remedy=f"{remedy}, {any_port}")
