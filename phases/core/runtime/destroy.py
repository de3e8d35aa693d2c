"""Removes the containers of a habitat, with the work that is in them, and what persists. Nothing else does."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

from phases.core import events
from phases.core.build import ownership
from phases.core.build.lock import exclusive
from phases.core.build.ownership import container_name
from phases.core.errors import Conflict, EngineError, NotFound
from phases.core.runtime import persistent_volumes
from phases.core.runtime.stop import who_is_in
from phases.core.secrets import fingerprints

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from phases.core.engine.protocol import Change, Container, Volume
    from phases.core.project import Project

# What programs leave there is no work.
_PASSING = ("/run", "/tmp")  # noqa: S108 (a name, no file of ours)

_SHOWN_PATHS = 5


def destroy(project: Project, name: str, confirm: Callable[[str], bool], *, keep_volumes: bool = False) -> bool:
    """Show what is in each container of the habitat, and what persists, and remove both if `confirm` says
    yes to a question. keep_volumes: what persists stays. Returns whether there is nothing any more.
    """
    found = _containers(project, name)
    volumes = [] if keep_volumes else persistent_volumes.volumes_of(project.engine, name)
    if not found and not volumes:
        fingerprints.sweep(project.state_folder(name), project.engine)
        project.bus.emit(events.Notice(name, f"{name} has no containers"))
        return True
    for container in found:
        project.bus.emit(events.Line(name, _told(project, name, container)))
    for volume in volumes:
        project.bus.emit(events.Line(name, _told_volume(volume)))
    if not confirm(_question(len(found), len(volumes))):
        project.bus.emit(events.Notice(name, "nothing was removed"))
        return False
    presence = project.presence(name)
    with presence.alone():
        for container in found:
            if keep_volumes:
                persistent_volumes.collect_replaced_files(project, name, container)
            project.engine.remove(container.id)
            presence.forget(container.id)
    fingerprints.sweep(project.state_folder(name), project.engine)
    gone = [container.name for container in found]
    left = _remove(project, name, volumes)
    if len(left) < len(volumes):
        gone.append(_persisting(len(volumes) - len(left)))
    if gone:
        kept = "its snapshots and what persists are kept" if keep_volumes else "its snapshots are kept"
        project.bus.emit(events.Notice(name, f"removed {', '.join(gone)}; {kept}"))
    _sweep(project, name)
    return not left


def _question(containers: int, volumes: int) -> str:
    them, in_them = ("it", "in it") if containers == 1 else (f"these {containers}", "in them")
    if not volumes:
        return f"Remove {them}, with all that was done {in_them}?"
    persists = _persisting(volumes)
    return f"Remove {them}, with all that was done {in_them}, and {persists}?" if containers else f"Remove {persists}?"


def _persisting(volumes: int) -> str:
    return f"what persists in {volumes} volume{'s' if volumes > 1 else ''}"


def _told_volume(volume: Volume) -> str:
    since = f", since {volume.made[:10]}" if volume.made else ""
    return f"{volume.labels[persistent_volumes.LABEL_PERSIST]}: volume {volume.name}{since}"


def _remove(project: Project, name: str, volumes: Iterable[Volume]) -> list[Volume]:
    """Returns those that a container of somebody else's has."""
    left = []
    for volume in volumes:
        try:
            project.engine.remove_volume(volume.name)
        except Conflict as error:
            left.append(volume)
            text = f"volume {volume.name} stays: another container has it ({error.message})"
            project.bus.emit(events.Notice(name, text, warning=True))
    return left


def _sweep(project: Project, name: str) -> None:
    """Images that a build has replaced were kept for the containers that used them."""
    if project.store.has_untagged(name):
        with exclusive(project, name):
            pass  # taking the lock removes them


def _containers(project: Project, name: str) -> list[Container]:
    """The current one and those that were set aside, the latest first."""
    found = ownership.containers(project, name)
    whole = [seen for container in found if (seen := project.engine.container(container.id))]
    return sorted(whole, key=lambda container: (container.name == container_name(name), container.name), reverse=True)


def _told(project: Project, name: str, container: Container) -> str:
    state = "stopped"
    if container.running:
        presence = project.presence(name)
        with presence.alone():
            who = who_is_in(project, presence, container)
        state = f"running, in it is {who}" if who else "running"
    try:
        what = _summary(work(project.engine.changes(container.id), container))
    except NotFound:
        what = "gone already"
    except EngineError as error:
        what = f"what changed can't be told ({error.message})"
    return f"{container.name} ({state}): {what}"


def work(changes: Iterable[Change], container: Container) -> list[Change]:
    """Of what changed in a container that which somebody may miss: no folder that only holds what
    changed, nothing on a volume, nothing that passes.
    """
    changes = list(changes)
    holding = {posixpath.dirname(change.path) for change in changes}
    places = persistent_volumes.of(container).places
    elsewhere = (*_PASSING, *(bind.dest for bind in container.binds), *(place.mount for place in places))
    elsewhere += tuple(place.at for place in places)
    return [
        change
        for change in changes
        if change.path not in holding
        and not any(change.path == place or change.path.startswith(f"{place}/") for place in elsewhere)
    ]


def _summary(changes: list[Change]) -> str:
    if not changes:
        return "nothing has changed in it since its image"
    kinds = [change.kind for change in changes]
    counts = ", ".join(f"{kinds.count(kind)} {kind}" for kind in ("added", "changed", "deleted") if kind in kinds)
    paths = ", ".join(change.path for change in changes[:_SHOWN_PATHS])
    return f"{counts}: {paths}" + (", …" if len(changes) > _SHOWN_PATHS else "")
