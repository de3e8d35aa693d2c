"""Creates the container of a habitat with its persistent volumes, filled from the image where they are new."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

from phases.core import events
from phases.core.cache import image_labels
from phases.core.config.mounts import persist, volume_conflicts
from phases.core.container import root_environment
from phases.core.container.init_process import IDLE, replace_container
from phases.core.container.mount_points import MountPoints
from phases.core.engine.types import Restrictions, VolumeMount
from phases.core.errors import Conflict, LinkInTheWay, StartError
from phases.core.files.shell_program import ShellProgram
from phases.core.runtime.persistence.volumes import (
    LABEL_PERSIST,
    Persistence,
    PersistentPath,
    volume_name,
    volumes_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from phases.core.engine.locks import EngineLock
    from phases.core.engine.protocol import Engine
    from phases.core.entry_settings import Persisted
    from phases.core.model import Habitat
    from phases.core.project import Project

    #: Creates a container with a name, and with labels and mounts beside its own. Returns its id.
    Create = Callable[[str, Mapping[str, str], Sequence[VolumeMount]], str]

_SET_OWNER = ShellProgram(__file__, "set_owner.sh")

# The mode bit that lets others read a file.
_READABLE = 0o004


def create_with_volumes(project: Project, habitat: Habitat, image_id: str, name: str, create: Create) -> str:
    """Create a container with the habitat's persistent volumes. It isn't started.

    Args:
        project: The project.
        habitat: The habitat.
        image_id: The id of the image.
        name: The name of the container.
        create: Creates a container of the image.

    Returns:
        The id of the container.

    Raises:
        Conflict: Another run has created the container meanwhile.
    """
    if not habitat.entry.persist:
        # The label is set all the same: an image that was committed from a container hands its own down.
        return create(name, {LABEL_PERSIST: ""}, ())
    # If two runs filled the same volumes at once, the image's files could overwrite what a program has written.
    lock = project.locks.lock(f"start {project.names.of(habitat.name)}")
    try:
        lock.acquire(lambda holder: _report_wait(project, habitat.name, holder), report_after=1.0)
        if project.engine.container(name):
            raise Conflict(f"container {name} exists by now")
        return _create_filled(project, habitat, image_id, name, create, lock)
    finally:
        lock.release()


def _report_wait(project: Project, habitat: str, holder: str) -> None:
    project.bus.emit(events.Notice(habitat, f"waiting for another run that creates its container ({holder})"))


def _create_filled(
    project: Project, habitat: Habitat, image_id: str, name: str, create: Create, lock: EngineLock
) -> str:
    engine = project.engine
    # A container's mounts are fixed when it is created. So another one, without them, shows what the image has.
    draft = f"{project.temporary_containers.prefix('start', habitat.name)}draft"
    engine.remove(draft)  # of a start that was killed
    without_volumes = create(draft, {}, ())
    try:
        config = engine.image_config(image_id) if "HOME" in habitat.env.values else None
        image = _ImageContent(project, without_volumes, habitat, config.env if config else {})
    finally:
        engine.remove(without_volumes)
    labels = {LABEL_PERSIST: image.persistence.label}
    container = create(draft, labels, _mounts(project, habitat.name, image.persistence.entries))
    try:
        _fill(engine, container, image)
        _set_owner(project, habitat.name, image_id, image, container)
        lock.check()
        engine.rename(container, name)
    except BaseException:
        engine.remove(container)
        raise
    return container


class _ImageContent:
    """The files that the image has at the persistent paths, read in a container without volumes.

    Attributes:
        persistence: The persistent paths and their owner.
        missing: Folders to create, parents first.
        files: The content and the mode of single files by their path, None for one that isn't copied.
    """

    def __init__(self, project: Project, container: str, habitat: Habitat, env: Mapping[str, str]) -> None:
        self._engine = engine = project.engine
        name = project.names.of(habitat.name)
        self._container = container
        self.points = MountPoints(
            lambda path: engine.read_file(container, path) or b"",
            lambda path: engine.stat(container, path),
            lambda path: engine.path_info(container, path),
            habitat,
            env,
            [(persisted.path, persisted.origin) for persisted in habitat.entry.persist],
        )
        persist.check(habitat, self.points.home)
        volumes = self.points.volumes(habitat)
        entries = tuple(self._resolve(name, persisted) for persisted in habitat.entry.persist)
        for entry, persisted in zip(entries, habitat.entry.persist, strict=True):
            problem = f"entry.persist: {persisted.path} can't persist: it"
            volume_conflicts.check_beside_volumes(habitat, volumes, problem, entry.resolved, persisted.origin)
        self.persistence = Persistence(entries, self.points.owner)
        self.missing = self.points.missing(posixpath.dirname(entry.resolved) for entry in entries)
        self.files = {entry.path: self._content(entry) for entry in self.persistence.files}

    def _resolve(self, habitat: str, persisted: Persisted) -> PersistentPath:
        path = persisted.path.rstrip("/")
        resolved = self.points.resolve(path, last=persisted.is_folder)
        stat = self._engine.stat(self._container, resolved)
        if stat and not stat.link and stat.is_dir != persisted.is_folder:
            kind, remedy = ("a folder", f"{path}/") if stat.is_dir else ("a file", path)
            raise StartError(f"{path} is {kind} in the image", where=persisted.origin, remedy=f"write {remedy}")
        return PersistentPath(persisted.path, resolved, volume_name(habitat, persisted.path))

    def _content(self, entry: PersistentPath) -> tuple[bytes, int] | None:
        """Return content and mode of a file that USER may read. A link that USER may have made isn't followed."""
        try:
            path = self.points.resolve(entry.path)
        except LinkInTheWay:
            return None
        info = self._engine.path_info(self._container, path, content=True)
        if info is None or info.kind != "file" or not (info.uid == self.points.owner[0] or info.mode & _READABLE):
            return None
        return info.content, info.mode


def _mounts(project: Project, habitat: str, entries: Sequence[PersistentPath]) -> list[VolumeMount]:
    """Return the mounts. Only a new volume gets the image's files: one that was emptied stays empty."""
    existing = {volume.name for volume in volumes_of(project, habitat)}
    labels = {image_labels.LABEL_NAME: project.names.of(habitat), **project.identity.labels}
    return [
        VolumeMount(
            entry.volume,
            entry.mount_point,
            {**labels, LABEL_PERSIST: entry.path},
            copies=entry.volume not in existing,
        )
        for entry in entries
    ]


def _fill(engine: Engine, container: str, image: _ImageContent) -> None:
    """Create missing folders and the links of single files. A file on a volume takes precedence over the image's."""
    from phases.core.files.tar import Archive

    owner = image.persistence.owner
    with Archive() as archive:
        for folder in image.missing:
            archive.add(folder, "dir", 0o755, image.points.owner_of(folder))
        for entry in image.persistence.files:
            exists = engine.stat(container, entry.file) is not None
            if not exists and (file := image.files[entry.path]):
                content, mode = file
                archive.add(entry.file, "file", mode, owner, content=content)
                exists = True
            # A dangling link would confuse a program that checks whether the file exists. Outside USER's folders it is
            # made all the same: USER could not create the file there.
            if exists or not image.points.is_users(entry.resolved):
                archive.add(entry.resolved, "link", 0o777, owner, target=entry.file)
        engine.put_archive(container, "/", archive.finish())


def _set_owner(project: Project, habitat: str, image_id: str, image: _ImageContent, container: str) -> None:
    """Give the volumes to USER.

    This runs in a container of its own. No process of USER runs there, and a link that USER puts into a volume from
    another container leads to nothing of value.
    """
    engine, owner = project.engine, image.persistence.owner
    infos = {entry: engine.path_info(container, entry.mount_point) for entry in image.persistence.entries}
    foreign = [entry for entry, info in infos.items() if info and (info.uid, info.gid) != owner]
    if not foreign:
        return
    mounts = [VolumeMount(entry.volume, entry.mount_point, copies=False) for entry in foreign]
    name = f"{project.temporary_containers.prefix('start', habitat)}owner"
    config = engine.image_config(image_id)
    env = root_environment.for_container(config.env if config else {})
    restrictions = Restrictions(privileges=False, network=False)
    helper = replace_container(
        engine,
        name,
        lambda name: engine.create(image_id, name, IDLE, env=env, mounts=mounts, restrictions=restrictions),
    )
    try:
        engine.start(helper)
        folders = (entry.mount_point for entry in foreign)
        exit_code, output = root_environment.run(engine, helper, _SET_OWNER.text, *map(str, owner), *folders)
    finally:
        engine.remove(helper)
    if exit_code:
        raise StartError(
            f"the persistent volumes could not be given to USER ({output})",
            where=habitat,
            remedy="check that the image has stat, find and chown",
        )
