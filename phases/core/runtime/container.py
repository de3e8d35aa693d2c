"""The container that a habitat runs in: found, made as it is to be now, or set aside."""

from __future__ import annotations

import re
import shlex
import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from msgspec.structs import asdict

from phases.core import events
from phases.core.build.ownership import container_name, marks, owner
from phases.core.cache import image_index
from phases.core.cache import mounts as cache_mounts
from phases.core.cache.mounts import mounts_of
from phases.core.container import root_environment, safe_paths, shell_errors
from phases.core.container.init_process import IDLE
from phases.core.container.root_environment import LABEL_ENVIRONMENT
from phases.core.engine.protocol import Restrictions, Tmpfs
from phases.core.errors import Conflict, EngineError, HabitatError, NotFound, PortRefused, StartError
from phases.core.runtime import persistent_volumes
from phases.core.secrets import fingerprints
from phases.protocol import SECRETS_FOLDER

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from phases.core.engine.protocol import Bind, Container, VolumeMount
    from phases.core.model import Habitat
    from phases.core.project import Project

#: Says what holds it in, and which ports lead out: engines tell the same in different words.
LABEL_RESTRICTIONS = "habitat.confinement"

# How often the container is looked for again where somebody else is at it, and the seconds in between.
_TRIES, _PAUSE = 5, 0.2

# What the engine keeps of what the main process prints, which may go on for months.
_LOG_BYTES = 32_000_000

# Words that a shell would leave as they are; anything else needs one.
_PLAIN = re.compile(r"(?!\w+=)[\w@%+=:,./ \t-]+", re.ASCII)


def own_container(project: Project, name: str) -> Container | None:
    """The habitat's container, None where there is none. Raises Conflict when its name is somebody else's."""
    found = project.engine.container(container_name(name))
    if found and owner(project, found) != name:
        raise Conflict(
            f"the container name {found.name} is taken by a container of somebody else",
            remedy=f"rename that one: docker rename {found.name} OTHER",
        )
    return found


def final_image(project: Project, name: str) -> str:
    """The id of the image that was built of today's config. Raises StartError where there is none."""
    assessment = project.assess(name)
    if not assessment.final:
        raise StartError(
            f"{image_index.final_tag(name)} is not what the config says ({next(iter(assessment.stale.values()))})",
            where=name,
            remedy="run the same command again, without --single",
        )
    return assessment.final


def ensure_running(project: Project, habitat: Habitat, *, image: str, fresh: bool = False) -> tuple[Container, bool]:
    """The habitat's container as it is to be now, running, and whether it was before. image: the id of the one that
    it is to be made of, whatever has its tag by now; fresh: a new one.

    Another user of the engine may be at it, from a clone of his own: then one joins what the other makes.
    """
    for _ in range(_TRIES):
        with suppress(_OthersTurn):
            return _brought_up(project, habitat, image, fresh=fresh)
        fresh = False  # what he has made just now is
        time.sleep(_PAUSE)
    raise Conflict(
        f"somebody else makes, renames or removes container {container_name(habitat.name)} again and again",
        where=habitat.name,
        remedy="see who does (docker ps --all), then start it again",
    )


class _OthersTurn(Exception):
    """Somebody else has done something to the container between a look at it and what was to follow."""


def _brought_up(project: Project, habitat: Habitat, image: str, *, fresh: bool) -> tuple[Container, bool]:
    found = own_container(project, habitat.name)
    as_now = (image, _main_process(habitat), set(mounts_of(habitat)), _held(habitat))
    if found and (
        (found.image, found.command, set(found.binds), found.labels.get(LABEL_RESTRICTIONS)) != as_now
        or persistent_volumes.of(found).paths != persistent_volumes.paths_of(habitat)
    ):
        _keep(project, habitat, found, "from an older image" if found.image != image else "with another config")
    elif found and fresh:
        _keep(project, habitat, found, "by an earlier start")
    elif found:
        if not found.running:
            persistent_volumes.collect_replaced_files(project, habitat.name, found)  # where the last start was killed
            _start(project, habitat, found, "as it is in its container: doit start with --new makes another")
        return found, found.running
    try:
        found = _made(project, habitat, image)
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


def _made(project: Project, habitat: Habitat, image: str) -> Container:
    engine = project.engine
    config = engine.image_config(image)
    env = config.env if config else {}

    def create(name: str, labels: Mapping[str, str], volumes: Sequence[VolumeMount]) -> str:
        mounts: list[Bind | Tmpfs | VolumeMount] = [*mounts_of(habitat), Tmpfs(SECRETS_FOLDER), *volumes]
        cache_mounts.check(habitat)
        try:
            made = engine.create(
                image,
                name,
                _main_process(habitat),
                env=root_environment.for_container(env),
                labels={
                    **marks(habitat.name),
                    LABEL_RESTRICTIONS: _held(habitat),
                    LABEL_ENVIRONMENT: root_environment.label_for(env),
                    **fingerprints.label(habitat),
                    **labels,
                },
                mounts=mounts,
                hostname=habitat.name[:63],
                restrictions=restrictions(habitat),
                ports=habitat.entry.ports,
                log_bytes=_LOG_BYTES,
            )
        except NotFound as error:
            raise StartError(
                f"the image {image[7:19]} that was built is gone: another run has replaced it",
                where=habitat.name,
                remedy="run the same command again",
            ) from error
        try:
            safe_paths.check_mounts(engine, made, (mount.dest for mount in mounts), last=True)
        except HabitatError:
            engine.remove(made)
            raise
        return made

    container = persistent_volumes.made(project, habitat, image, container_name(habitat.name), create)
    found = project.engine.container(container)
    if found is None:
        raise _OthersTurn
    try:
        fingerprints.begin(project, habitat, container)
    except HabitatError:
        engine.remove(container)
        raise
    return found


def restrictions(habitat: Habitat) -> Restrictions:
    """What holds an agent in: no way to more privileges than USER's, and what the config says."""
    entry = habitat.entry
    limits = asdict(entry.limits)
    return Restrictions(privileges=False, network=entry.network != "none", **limits)


def _held(habitat: Habitat) -> str:
    limits = [f"{key}={value:g}" for key, value in asdict(restrictions(habitat)).items()]
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
    dests += [place.mount for place in persistent_volumes.of(container).places if place.is_folder]
    home = f"/home/{habitat.user}"
    cache_mounts.check(habitat)
    try:
        safe_paths.check_mounts(project.engine, container.id, dests, last=False, folders=("/home", home))
        project.engine.start(container.id)
    except PortRefused as error:
        raise _refused(project, habitat, error) from error
    except EngineError as error:
        image = ", ".join(filter(None, (image_index.final_tag(habitat.name), which)))
        if told := shell_errors.from_engine_error(project.engine, container.id, habitat, image, error):
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
        cache_mounts.check(habitat)  # the engine has looked the paths up meanwhile
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
    other = owner(project, holder) if holder else ""
    if other and holder and holder.name == container_name(other):
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
    persistent_volumes.collect_replaced_files(project, habitat.name, old)
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
