"""The container that a habitat runs in: found, made as it is to be now, or set aside."""

from __future__ import annotations

import re
import shlex
import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from msgspec.structs import asdict

from phases.core import binds, deliveries, events, persistence, root_environment, safe_paths, shells, snapshots
from phases.core.binds import binds_of
from phases.core.engine import Confinement, Tmpfs
from phases.core.errors import Conflict, EngineError, HabitatError, NotFound, PortRefused, StartError
from phases.core.idling import IDLE
from phases.core.root_environment import LABEL_ENVIRONMENT
from phases.protocol import SECRETS_FOLDER

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from phases.core.engine import Bind, Container, VolumeMount
    from phases.core.model import Habitat
    from phases.core.project import Project

#: Marks the container of `start`, and says whose it is.
LABEL_RUN = "habitat.run"

#: Says what holds it in, and which ports lead out: engines tell the same in different words.
LABEL_CONFINEMENT = "habitat.confinement"

# How often the container is looked for again where somebody else is at it, and the seconds in between.
_TRIES, _PAUSE = 5, 0.2

# What the engine keeps of what the main process prints, which may go on for months.
_LOG_BYTES = 32_000_000

# Words that a shell would leave as they are; anything else needs one.
_PLAIN = re.compile(r"(?!\w+=)[\w@%+=:,./ \t-]+", re.ASCII)


def container_name(habitat: str) -> str:
    return f"habitat-{habitat}"


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
    """The habitat's container as it is to be now, running, and whether it was before. fresh: a new one.

    Another user of the engine may be at it, from a clone of his own: then one joins what the other makes.
    """
    for _ in range(_TRIES):
        with suppress(_OthersTurn):
            return _brought_up(project, habitat, fresh=fresh)
        fresh = False  # what he has made just now is
        time.sleep(_PAUSE)
    raise Conflict(
        f"somebody else makes, renames or removes container {container_name(habitat.name)} again and again",
        where=habitat.name,
        remedy="see who does (docker ps --all), then start it again",
    )


class _OthersTurn(Exception):
    """Somebody else has done something to the container between a look at it and what was to follow."""


def _brought_up(project: Project, habitat: Habitat, *, fresh: bool) -> tuple[Container, bool]:
    image = project.inventory.tagged(snapshots.final_tag(habitat.name))
    if image is None:
        raise StartError(f"image {snapshots.final_tag(habitat.name)} is gone", remedy="run the same command again")
    found = own_container(project, habitat.name)
    as_now = (image.id, _main_process(habitat), set(binds_of(habitat)), _held(habitat))
    if found and (
        (found.image, found.command, set(found.binds), found.labels.get(LABEL_CONFINEMENT)) != as_now
        or persistence.of(found).paths != persistence.paths_of(habitat)
    ):
        _keep(project, habitat, found, "from an older image" if found.image != image.id else "with another config")
    elif found and fresh:
        _keep(project, habitat, found, "by an earlier start")
    elif found:
        if not found.running:
            persistence.take_in(project, habitat.name, found)  # where the last start was killed
            _start(project, habitat, found, "as it is in its container: doit start with --new makes another")
        return found, found.running
    try:
        found = _made(project, habitat, image.id)
    except Conflict as error:
        raise _OthersTurn from error
    try:
        _start(project, habitat, found)
    except HabitatError:
        now = project.engine.container(found.id)
        if now and not now.running:  # nothing was done in it; or somebody else has started it by now
            project.engine.remove(found.id)
        raise
    return found, False


def _made(project: Project, habitat: Habitat, image_id: str) -> Container:
    engine = project.engine
    image = engine.image_config(image_id)
    env = image.env if image else {}

    def create(name: str, labels: Mapping[str, str], volumes: Sequence[VolumeMount]) -> str:
        mounts: list[Bind | Tmpfs | VolumeMount] = [*binds_of(habitat), Tmpfs(SECRETS_FOLDER), *volumes]
        binds.check(habitat)
        made = engine.create(
            image_id,
            name,
            _main_process(habitat),
            env=root_environment.for_container(env),
            labels={
                LABEL_RUN: habitat.name,
                LABEL_CONFINEMENT: _held(habitat),
                LABEL_ENVIRONMENT: root_environment.label_of(env),
                **deliveries.label(habitat),
                **labels,
            },
            mounts=mounts,
            hostname=habitat.name[:63],
            confinement=confinement(habitat),
            ports=habitat.entry.ports,
            log_bytes=_LOG_BYTES,
        )
        try:
            safe_paths.check_mounts(engine, made, (mount.dest for mount in mounts), last=True)
        except HabitatError:
            engine.remove(made)
            raise
        return made

    container = persistence.made(project, habitat, image_id, container_name(habitat.name), create)
    found = project.engine.container(container)
    if found is None:
        raise _OthersTurn
    try:
        deliveries.begin(project, habitat, container)
    except HabitatError:
        engine.remove(container)
        raise
    return found


def confinement(habitat: Habitat) -> Confinement:
    """What holds an agent in: no way to more privileges than USER's, and what the config says."""
    entry = habitat.entry
    limits = asdict(entry.limits)
    return Confinement(privileges=False, network=entry.network != "none", **limits)


def _held(habitat: Habitat) -> str:
    limits = [f"{key}={value:g}" for key, value in asdict(confinement(habitat)).items()]
    return " ".join([*limits, *(f"port={port}" for port in sorted(habitat.entry.ports))])


def _main_process(habitat: Habitat) -> tuple[str, ...]:
    """The init command, or an init that idles. A plain command becomes the main process itself."""
    text = habitat.entry.init_command.strip()
    if not text:
        return IDLE
    return tuple(shlex.split(text)) if _PLAIN.fullmatch(text) else ("/bin/sh", "-c", text)


def _start(project: Project, habitat: Habitat, container: Container, which: str = "") -> None:
    """which: says of the image what somebody may have done to it in the container."""
    dests = [bind.dest for bind in container.binds]
    dests += [place.mount for place in persistence.of(container).places if place.is_folder]
    home = f"/home/{habitat.user}"
    binds.check(habitat)
    try:
        safe_paths.check_mounts(project.engine, container.id, dests, last=False, folders=("/home", home))
        project.engine.start(container.id)
    except PortRefused as error:
        raise _refused(project, habitat, error) from error
    except EngineError as error:
        image = ", ".join(filter(None, (snapshots.final_tag(habitat.name), which)))
        if told := shells.trouble(project.engine, container.id, habitat, image, error):
            raise told from error
        if project.engine.container(container.id) is None:
            raise _OthersTurn from error
        init = habitat.entry.init_command
        raise StartError(
            f"container {container.name} can't be started ({error.message})",
            where=habitat.name,
            remedy=f"see that the image has {init.split()[0]}" if init else "see what it says is missing or taken",
        ) from error
    try:
        binds.check(habitat)  # the engine has looked the paths up meanwhile
    except HabitatError:
        project.engine.stop(container.id)
        raise


def _refused(project: Project, habitat: Habitat, error: PortRefused) -> StartError:
    """What to say when the host doesn't give a port: who has it, as far as the engine knows."""
    address = error.port.address
    where = next((port.origin for port in habitat.entry.ports if port == error.port), None) or habitat.name
    if not error.taken:
        problem = f"port {address} can't be published ({error.message})"
        return StartError(problem, where=where, remedy="see that it is an address of the host, and a port you may use")
    running = (container for container in project.engine.containers() if container.running)
    holder = next((one for one in running if any(port.meets(error.port) for port in one.ports)), None)
    other = holder.labels.get(LABEL_RUN, "") if holder else ""
    if holder and holder.name == container_name(other):
        by, remedy = f" by {holder.name}", f"doit stop:{other} frees it"
    elif holder:
        by, remedy = f" by the container {holder.name}", f"docker stop {holder.name} frees it"
    else:
        by, remedy = " by a program of the host", "stop that"
    another = f"or write {replace(error.port, host=0).written} for one that is free"
    return StartError(f"port {address} is taken{by}", where=where, remedy=f"{remedy}, {another}")


def _keep(project: Project, habitat: Habitat, old: Container, made: str) -> None:
    """Set aside a container that was `made` otherwise than one would be now; somebody's work may be in it."""
    stamped = f"{old.name}-{time.strftime('%Y%m%d-%H%M%S')}"
    names = (stamped, *(f"{stamped}-{number}" for number in range(2, 1000)))
    aside = next(name for name in names if not project.engine.container(name))
    persistence.take_in(project, habitat.name, old)
    now = project.engine.container(old.name)
    if now is None or now.id != old.id:
        raise _OthersTurn
    try:
        project.engine.rename(old.id, aside)
    except (Conflict, NotFound) as error:
        raise _OthersTurn from error
    project.presence(habitat.name).forget(old.id)
    text = f"{old.name} was made {made}: kept as {aside}"
    if old.running and project.engine.running_execs(old.id):
        text += ", where somebody is at work"
    else:
        project.engine.stop(old.id)
        text += f"; when you need nothing of it: docker rm {aside}"
    project.bus.emit(events.Notice(habitat.name, text))
