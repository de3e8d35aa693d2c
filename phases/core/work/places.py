"""Running containers in which the repositories of a container can be read, also of one that doesn't run.

A container that doesn't run isn't started for a look: its main process is the person's, and its ports are published.
"""

from __future__ import annotations

import posixpath
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

from phases.core import events
from phases.core.cache import image_labels
from phases.core.config.mounts.mountable_paths import overlap, within
from phases.core.container import root_environment
from phases.core.container.init_process import IDLE
from phases.core.container.main_process import restrictions
from phases.core.container.root_environment import LABEL_ENVIRONMENT
from phases.core.engine.confinement.restrictions import NO_NETWORK
from phases.core.errors import HabitatError, NotFound
from phases.core.work.repositories import paths_by_user

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from phases.core.engine.types import Change, Container
    from phases.core.model import Habitat
    from phases.core.project import Project

# Part of the names of the temporary containers.
_PURPOSE = "look"

# A volume that nobody has named: the engine made it for a VOLUME of the image, and no other container gets it.
_UNNAMED = re.compile(r"[0-9a-f]{64}")

# Bytes that a look copies at most, and in a second.
_MOST_BYTES, _BYTES_PER_SECOND = 2 << 30, 200 << 20

# Folders below WORKDIR that are asked whether they are repositories.
_MOST_FOLDERS = 64


@contextmanager
def place_to_read(project: Project, habitat: Habitat, container: Container, *, own_files: bool) -> Iterator[Container]:
    """Yield a running container with the files of `container`: that one itself, or a temporary one without a network.

    Args:
        project: The project.
        habitat: The habitat.
        container: A container of the habitat.
        own_files: Whether the files that the container itself has changed are needed, or only those on its volumes. The
            engine copies them, which takes a second for some 200 MB.

    Raises:
        HabitatError: The temporary container can't be made, or too much was written in the container.
    """
    if container.running:
        yield container
        return
    engine, name = project.engine, habitat.name
    if own_files:
        _check_size(project, name, container)
    project.temporary_containers.sweep(_PURPOSE, name)
    image = container.image
    key = project.temporary_containers.passing_name(_PURPOSE, name)
    made: list[str] = []

    def remove() -> None:
        engine.remove(key)
        for copy in made:
            engine.remove_image(copy)

    def create() -> str:
        project.cleanups.add(key, remove)
        if own_files:
            # The labels of the habitat come with it, so that a later run removes the image if this one is killed.
            made.append(engine.commit(container.id, ["LABEL habitat.phase="], image_labels.COMMENT))
        return _create(project, habitat, made[0] if made else image, key, container)

    try:
        temporary = project.maker.make(create)
        engine.start(temporary)
        started = engine.container(temporary)
        if started is None:
            raise NotFound("the temporary container was removed")
        yield started
    finally:
        project.cleanups.run(key)


def _check_size(project: Project, name: str, container: Container) -> None:
    """Say how long a copy of what was written in a container takes. Raise HabitatError if that is too much."""
    size = project.engine.changed_bytes(container.id)
    if size > _MOST_BYTES:
        raise HabitatError(f"{size / (1 << 30):.1f} GB were written in {container.name}, too much to copy for a look")
    if (seconds := size / _BYTES_PER_SECOND) >= 1:
        text = f"reading the repositories in {container.name}, which doesn't run, takes about {seconds + 1:.0f}s"
        project.bus.emit(events.Notice(name, text))


def _create(project: Project, habitat: Habitat, image: str, name: str, container: Container) -> str:
    """Create the temporary container, with the volumes of the container and nothing of this machine."""
    config = project.engine.image_config(image)
    env = root_environment.environment_of_label(container.labels) or (config.env if config else {})
    limits = restrictions(habitat)
    return project.engine.create(
        image,
        name,
        IDLE,
        env=root_environment.for_main_process(env),
        labels={LABEL_ENVIRONMENT: container.labels.get(LABEL_ENVIRONMENT, "")},
        mounts=container.volumes,
        restrictions=type(limits)(privileges=False, network=NO_NETWORK, memory=limits.memory, pids=limits.pids),
    )


def is_kept(container: Container, path: str, removed: Collection[str] = ()) -> bool:
    """Return whether a path outlives the container: on a folder of this machine, or on a volume of the next container.

    removed: The names of volumes that are to be removed as well.
    """
    mounts = [(bind.dest, True) for bind in container.binds]
    mounts += [
        (volume.dest, not _UNNAMED.fullmatch(volume.volume) and volume.volume not in removed)
        for volume in container.volumes
    ]
    above = [(len(dest), is_kept) for dest, is_kept in mounts if within(path, dest)]
    return max(above, default=(0, False))[1]


def may_have_work(project: Project, habitat: Habitat, container: Container, volumes: Collection[str]) -> bool:
    """Return whether a repository may be on one of some volumes of the container. volumes: their names."""
    folders = [habitat.workdir, *_paths(project, habitat, container)]
    mounts = [volume for volume in container.volumes if volume.volume in volumes]
    return any(overlap(volume.dest, folder) for volume in mounts for folder in folders)


def changed_repositories(
    project: Project, habitat: Habitat, container: Container, changes: Iterable[Change], *, is_whole: bool
) -> list[str]:
    """Return the repositories in which a container has changed something, but for those on volumes.

    Two folders that are one by a link may both be named.

    Args:
        project: The project.
        habitat: The habitat.
        container: The container.
        changes: What it has changed since its image.
        is_whole: Whether these are all changes. Otherwise any repository may have others.
    """
    changed = [change.path for change in changes]
    folders = [habitat.workdir, *_paths(project, habitat, container), *_children(habitat.workdir, changed)]
    mine = (folder for folder in dict.fromkeys(folders) if not is_kept(container, folder))
    near = [folder for folder in mine if not is_whole or any(within(path, folder) for path in changed)]
    return [folder for folder in near if project.engine.stat(container.id, posixpath.join(folder, ".git"))]


def _paths(project: Project, habitat: Habitat, container: Container) -> list[str]:
    """Return the paths of `repos:`."""
    return [path for paths in paths_by_user(project, habitat, container).values() for path in paths]


def _children(folder: str, paths: Collection[str]) -> list[str]:
    """Return the folders directly below `folder` in which something is among `paths`."""
    prefix = f"{folder.rstrip('/')}/"
    names = dict.fromkeys(path[len(prefix) :].partition("/")[0] for path in paths if path.startswith(prefix))
    return [f"{prefix}{name}" for name in [*names][:_MOST_FOLDERS]]
