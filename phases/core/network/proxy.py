"""The proxy of a habitat: the container with a network that decides which connections go on."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from phases.core.engine.confinement.restrictions import Restrictions
from phases.core.engine.types import Tmpfs, VolumeMount
from phases.core.errors import Conflict, StartError
from phases.core.files.tar import Archive
from phases.core.network import allowed
from phases.core.network.rules import squid_rules

if TYPE_CHECKING:
    from phases.core.engine.types import Container, ImageConfig
    from phases.core.model import Habitat
    from phases.core.port import Port
    from phases.core.project import Project

#: The label of a proxy and of a gate: the name of their habitat on the engine.
LABEL_OF = "habitat.gate-of"

# The label of a proxy: what it was made with.
_LABEL_SETUP = "habitat.gate-setup"

#: Where proxy and gate have the volume with their sockets.
GATE_FOLDER = "/gate"

#: Where the image has its programs.
PROGRAMS = "/usr/local/lib/habitat"

# The user "proxy" of the image.
_USER = "13"

_RESTRICTIONS = Restrictions(privileges=False, capabilities=False, read_only=True, memory=256 << 20, pids=64)

# Bytes of the log, one line for each connection, that the engine keeps.
_LOG_BYTES = 16_000_000


def proxy_name(habitat: str) -> str:
    """Return the name of a proxy. No habitat has it: names have no double hyphen. habitat: its name on the engine."""
    return f"habitat-{habitat}--proxy"


def volume(habitat: str, project: Project) -> VolumeMount:
    """Return the mount of the volume with the sockets. habitat: its name on the engine."""
    return VolumeMount(f"habitat-{habitat}--gate", GATE_FOLDER, {LABEL_OF: habitat, **project.identity.labels})


def start(project: Project, habitat: Habitat, config: ImageConfig, *, may_replace: bool = True) -> None:
    """Let the habitat's proxy run with the rules and the ports of the config.

    Args:
        project: The project.
        habitat: The habitat.
        config: That of the image of the proxy.
        may_replace: Whether one that runs, with other ports or of another version, gives way to a new one. Its
            connections end, and gates that run don't lead to new ports.

    Raises:
        PortRefused: A port can't be published.
        HabitatError: It can't run.
    """
    name = proxy_name(project.names.of(habitat.name))
    setup = " ".join([config.id, *map(str, sorted(habitat.entry.ports))])
    container = project.engine.container(name)
    if container and container.labels.get(LABEL_OF) != project.names.of(habitat.name):
        remedy = f"rename or remove that container: docker rename {name} OTHER"
        raise StartError(f"the container name {name} is taken by another container", where=habitat.name, remedy=remedy)
    is_other = container is not None and container.labels.get(_LABEL_SETUP) != setup
    if container and is_other and (may_replace or not container.running):
        project.engine.remove(container.id)
        container = None
    if container is None:
        container_id, is_running = _create(project, habitat, config, name, setup), False
    else:
        container_id, is_running = container.id, container.running
    _write_rules(project, container_id, habitat)
    if is_running:
        _reread(project, container_id)
    else:
        project.engine.start(container_id)


def _create(project: Project, habitat: Habitat, config: ImageConfig, name: str, setup: str) -> str:
    engine_name = project.names.of(habitat.name)
    try:
        return project.engine.create(
            config.id,
            name,
            (f"{PROGRAMS}/proxy.sh", *(str(port.inside) for port in habitat.entry.ports)),
            labels={LABEL_OF: engine_name, _LABEL_SETUP: setup, **project.identity.labels},
            mounts=(volume(engine_name, project), Tmpfs("/state", "mode=1777,size=16m")),
            restrictions=_RESTRICTIONS,
            ports=habitat.entry.ports,
            log_bytes=_LOG_BYTES,
            user=_USER,
        )
    except Conflict as error:
        remedy = f"rename or remove that container: docker rm {name}"
        raise StartError(f"the container name {name} is taken", where=habitat.name, remedy=remedy) from error


def set_rules(project: Project, habitat: Habitat) -> None:
    """Let the habitat's proxy follow the rules that count now, if it runs."""
    container = project.engine.container(proxy_name(project.names.of(habitat.name)))
    if container and container.running:
        _write_rules(project, container.id, habitat)
        _reread(project, container.id)


def _write_rules(project: Project, container: str, habitat: Habitat) -> None:
    text = squid_rules(*allowed.rules_of(project, habitat), learns=habitat.entry.learns)
    with Archive() as archive:
        archive.add("rules.conf", "file", 0o644, content=text.encode())
        project.engine.put_archive(container, GATE_FOLDER, archive.finish())


def _reread(project: Project, container: str) -> None:
    argv = ("squid", "-k", "reconfigure", "-f", "/etc/habitat/squid.conf")
    if code := project.engine.exec(container, argv, user=_USER):
        raise StartError(f"squid can't read the rules again: it ended with {code}")


def published(project: Project, name: str) -> tuple[Port, ...]:
    """Return the ports that the habitat's proxy publishes, with the numbers that the engine chose."""
    container = project.engine.container(proxy_name(project.names.of(name)))
    return container.ports if container else ()


def stop(project: Project, habitat: str) -> None:
    """Stop a proxy. Its log is kept. habitat: its name on the engine."""
    project.engine.stop(proxy_name(habitat), grace=1)


def remove(project: Project, name: str) -> None:
    """Remove the habitat's proxy and gates, and their volume. It is no error if there is none."""
    engine_name = project.names.of(name)
    for container in project.engine.containers(label=f"{LABEL_OF}={engine_name}"):
        if not project.identity.is_foreign(container.labels):
            project.engine.remove(container.id)
    with suppress(Conflict):
        project.engine.remove_volume(volume(engine_name, project).volume)


def gates(project: Project, habitat: str) -> list[Container]:
    """Return the gates of all containers of a habitat. habitat: its name on the engine."""
    listed = project.engine.containers(label=f"{LABEL_OF}={habitat}")
    return [container for container in listed if container.name != proxy_name(habitat)]
