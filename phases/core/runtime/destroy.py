"""Removes the containers of a habitat, with the work in them, and its persistent volumes or its workspaces."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from phases.core import command_form, events
from phases.core.build.lock import exclusive
from phases.core.cache.image_labels import repository
from phases.core.errors import ConfigError, Conflict
from phases.core.events.work import ContainerHolds
from phases.core.runtime import own_containers
from phases.core.runtime.carry import carried
from phases.core.runtime.own_containers import container_name, is_new
from phases.core.runtime.persistence import shared
from phases.core.runtime.persistence.collect import collect_replaced_files
from phases.core.runtime.persistence.container_line import container_line
from phases.core.runtime.persistence.volumes import LABEL_PERSIST, LABEL_WORKSPACE, is_workspace, volumes_of
from phases.core.runtime.session.presence import Presence
from phases.core.secrets import fingerprints
from phases.registry import PHASES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from phases.core.engine.types import Container, Volume
    from phases.core.project import Project


def destroy(
    project: Project,
    name: str,
    confirm: Callable[[str], bool],
    *,
    keep_volumes: bool = False,
    only_set_aside: bool = False,
    workspace: bool = False,
    with_shared: bool = False,
    with_images: bool = False,
) -> bool:
    """List the habitat's containers and volumes with their changes, ask, and remove them. Return whether all are gone.

    Args:
        project: The project.
        name: The name of the habitat.
        confirm: Asks the person a question and returns the answer.
        keep_volumes: Whether to keep the persistent volumes, too.
        only_set_aside: Whether to keep the current container and all volumes.
        workspace: Whether to remove the workspaces, and to keep the persistent volumes.
        with_shared: Whether to remove the volumes that it shares with the person's other habitats, too.
        with_images: Whether to remove its images, too.
    """
    keep_volumes = keep_volumes or only_set_aside
    containers = _containers(project, name, only_set_aside=only_set_aside)
    volumes = [] if keep_volumes else _volumes(project, name, workspace=workspace, with_shared=with_shared)
    images = project.store.count(name, PHASES) if with_images else 0
    if not containers and not volumes and not images:
        _report_nothing(project, name, keep_volumes=keep_volumes, only_set_aside=only_set_aside)
        _sweep(project, name)
        return True
    _show(project, name, containers, volumes)
    if not confirm(_question(len(containers), volumes, images)):
        project.bus.emit(events.Notice(name, "nothing was removed"))
        return False
    _remove_containers(project, name, containers, keep_volumes=keep_volumes or workspace)
    removed = [container.name for container in containers]
    remaining = _remove_volumes(project, name, volumes)
    removed += _counts([volume for volume in volumes if volume not in remaining])
    removed += [_count(_remove_images(project, name), "image")] if images else []
    kept = "" if only_set_aside else _kept(project, name, is_earlier=with_images)
    _report(project, name, removed, kept)
    _sweep(project, name)
    return not remaining


def _volumes(project: Project, name: str, *, workspace: bool, with_shared: bool) -> list[Volume]:
    own = [volume for volume in volumes_of(project, name) if is_workspace(volume) == workspace]
    return [*own, *(_shared(project, name) if with_shared else ())]


def _shared(project: Project, name: str) -> list[Volume]:
    """List what a habitat shares with others: nothing if the project no longer has it, or its config is broken."""
    with suppress(ConfigError):
        return shared.of_habitat(project, project.habitat(name)) if name in project.habitats.names else []
    return []


def _show(project: Project, name: str, containers: Iterable[Container], volumes: Sequence[Volume]) -> None:
    """Say what would be removed: work before what a build or a program can make again."""
    for volume in volumes:
        if is_workspace(volume):
            project.bus.emit(events.Line(name, _describe_volume(volume)))
    removed = {volume.name for volume in volumes}
    lines = [container_line(project, name, container, removed) for container in containers]
    for line in sorted(lines, key=lambda line: not line.work.repositories):
        project.bus.emit(ContainerHolds(name, line.container, line.work))
        project.bus.emit(events.Line(name, line.text))
    for volume in volumes:
        if not is_workspace(volume):
            project.bus.emit(events.Line(name, _describe_volume(volume)))


def _report(project: Project, name: str, removed: Iterable[str], kept: str) -> None:
    if removed:
        text = f"removed {', '.join(removed)}"
        project.bus.emit(events.Notice(name, "; ".join(filter(None, (text, kept)))))


def _report_nothing(project: Project, name: str, *, keep_volumes: bool, only_set_aside: bool) -> None:
    """Say that there is nothing to remove, with the command for what `destroy` keeps."""
    kinds = "container" if keep_volumes else "container and no persistent volume"
    if only_set_aside:
        kinds = "container that was set aside"
    text = f"{name} has no {kinds}: nothing to remove"
    kept = "" if only_set_aside else _kept(project, name)
    project.bus.emit(events.Notice(name, "; ".join(filter(None, (text, kept)))))


def _kept(project: Project, name: str, *, is_earlier: bool = False) -> str:
    """Return what is kept of a habitat without containers, with the commands that remove it; "" if nothing is."""
    kinds = [is_workspace(volume) for volume in volumes_of(project, name)]
    destroy = command_form.verb("destroy", name)
    option = "--earlier-names --workspace" if is_earlier else "--workspace"
    workspace = f"its workspace is kept: `{destroy} {option}` removes it" if any(kinds) else ""
    volumes = "its persistent volumes are kept" if not all(kinds) else ""
    images = (
        f"its snapshots are kept: `{command_form.command('clean', name)}` removes them"
        if _has_images(project, name)
        else ""
    )
    paths = ", ".join(volume.labels[LABEL_PERSIST] for volume in _shared(project, name))
    of_others = paths and f"{paths} is shared: `{destroy} --shared` removes it for all"
    return "; ".join(filter(None, (workspace, volumes, of_others, images)))


def _has_images(project: Project, name: str) -> bool:
    prefix = f"{repository(project.names.of(name))}:"
    return any(tag.startswith(prefix) for image in project.image_index.all() for tag in image.tags)


def _question(containers: int, volumes: Sequence[Volume], images: int) -> str:
    which, where = ("the container", "it") if containers == 1 else (f"these {containers} containers", "them")
    counted = [*_counts(volumes), *([_count(images, "image")] if images else [])]
    first = [f"{which}, with all changes in {where}"] if containers else []
    return f"Remove {', and '.join([*first, *counted])}?"


def _count(number: int, kind: str) -> str:
    return f"{number} {kind}{'' if number == 1 else 's'}"


def _counts(volumes: Sequence[Volume]) -> list[str]:
    workspaces = sum(map(is_workspace, volumes))
    pairs = ((workspaces, "workspace"), (len(volumes) - workspaces, "persistent volume"))
    return [_count(*pair) for pair in pairs if pair[0]]


def _describe_volume(volume: Volume) -> str:
    since = f", since {volume.made[:10]}" if volume.made else ""
    if is_workspace(volume):
        return f"{volume.labels[LABEL_WORKSPACE]}: workspace, all work in it, volume {volume.name}{since}"
    of_others = ", shared with your other habitats" if shared.LABEL_SHARED in volume.labels else ""
    return f"{volume.labels[LABEL_PERSIST]}: volume {volume.name}{of_others}{since}"


def _remove_containers(project: Project, name: str, containers: Iterable[Container], *, keep_volumes: bool) -> None:
    presence = Presence(project.state_folder(name))
    with presence.alone():
        for container in containers:
            if keep_volumes:
                collect_replaced_files(project, name, container)
            carried.remove_container(project, container)
            presence.forget(container.id)


def _remove_volumes(project: Project, name: str, volumes: Iterable[Volume]) -> list[Volume]:
    """Remove volumes. Returns those that stay, because another container uses them."""
    remaining = []
    for volume in volumes:
        try:
            project.engine.remove_volume(volume.name)
        except Conflict as error:
            remaining.append(volume)
            text = f"volume {volume.name} is kept: another container uses it ({error.message})"
            project.bus.emit(events.Notice(name, text, warning=True))
    return remaining


def _remove_images(project: Project, name: str) -> int:
    with exclusive(project, name):
        count = project.store.untag(name, PHASES)
    project.connection.wait_for_tasks()
    return count


def _sweep(project: Project, name: str) -> None:
    """Remove what was kept for the containers: images that a build has replaced, and records of their secrets."""
    if not own_containers.containers(project, name):
        _remove_proxy(project, name)
    fingerprints.sweep(project.state_folder(name), project.engine)
    carried.sweep(project, name)
    if project.store.has_untagged(name):
        with exclusive(project, name):
            pass  # taking the lock removes them


def _remove_proxy(project: Project, name: str) -> None:
    from phases.core.network import proxy  # imported late: many habitats have no allowlist

    proxy.remove(project, name)


def _is_current(current: str, container: Container) -> bool:
    """Return whether a container is the habitat's, or is about to be. current: the name of the habitat's."""
    return container.name == current or is_new(container.name)


def _containers(project: Project, name: str, *, only_set_aside: bool) -> list[Container]:
    """List the current container and then those that were set aside, the newest first."""
    listed, current = own_containers.containers(project, name), container_name(project.names.of(name))
    rows = [row for row in listed if not (only_set_aside and _is_current(current, row))]
    containers = [container for row in rows if (container := project.engine.container(row.id))]
    return sorted(containers, key=lambda container: (container.name == current, container.name), reverse=True)
