"""Persistent paths of a habitat: a named volume for each path of `entry.persist`.

A folder is the volume itself. A single file is in a volume of its own, with a link at its path: a mounted file can't be
replaced by a rename, and a volume for the folder above would hold too much. A program that writes through the link
writes to the volume. If a program replaces the link, its file is collected (`collect_replaced_files`) when a session
ends, and before the container is started, stopped, set aside or removed.

A container gets the habitat's name only after its volumes are filled (`persistent_create`). So in a container with that
name, a file in the place of a link is newer than the link.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
import re
from typing import TYPE_CHECKING

from msgspec import Struct

from phases.core import events
from phases.core.cache import image_names
from phases.core.config import mount_rules
from phases.core.container import root_environment, safe_paths, timed_exec
from phases.core.errors import EngineError, LinkInTheWay
from phases.core.files.shell_program import ShellProgram

if TYPE_CHECKING:
    from phases.core.engine.protocol import Engine
    from phases.core.engine.types import Container, PathInfo, Volume
    from phases.core.model import Habitat
    from phases.core.project import Project

#: The label of a volume is its path as the config has it; that of a container lists all paths, and where they are.
LABEL_PERSIST = "habitat.persist"

_COLLECT = ShellProgram(__file__, "collect_replaced_file.sh")

# Seconds for a file: USER can stop or hang whatever runs as USER.
_TIMEOUT = 20


class PersistentPath(Struct, frozen=True):
    """A path of `entry.persist` in a container.

    path: as the config has it. resolved: the path without links. volume: the name of its volume.
    """

    path: str
    resolved: str
    volume: str

    @property
    def is_folder(self) -> bool:
        return self.path.endswith("/")

    @property
    def mount_point(self) -> str:
        return self.resolved if self.is_folder else f"{mount_rules.OWN_FOLDER}/{self.volume}"

    @property
    def file(self) -> str:
        """The target of a single file's link, on the volume."""
        return f"{self.mount_point}/{posixpath.basename(self.resolved)}"


class Persistence(Struct, frozen=True):
    """What the label of a container records. owner: uid and gid of USER."""

    entries: tuple[PersistentPath, ...] = ()
    owner: tuple[int, int] = (0, 0)

    @property
    def paths(self) -> set[str]:
        return {entry.path for entry in self.entries}

    @property
    def folders(self) -> list[PersistentPath]:
        return [entry for entry in self.entries if entry.is_folder]

    @property
    def files(self) -> list[PersistentPath]:
        return [entry for entry in self.entries if not entry.is_folder]

    @property
    def label(self) -> str:
        rows = [[entry.path, entry.resolved, entry.volume] for entry in self.entries]
        return json.dumps({"owner": self.owner, "places": rows})


def persistence_of(container: Container) -> Persistence:
    """Return what persists of a container."""
    label = json.loads(container.labels.get(LABEL_PERSIST) or '{"places":[],"owner":[0,0]}')
    uid, gid = label["owner"]
    return Persistence(tuple(PersistentPath(*row) for row in label["places"]), (uid, gid))


def paths_of(habitat: Habitat) -> set[str]:
    """Return `Persistence.paths` for a new container of the habitat."""
    return {persisted.path for persisted in habitat.entry.persist}


def volume_name(habitat: str, path: str) -> str:
    """Return the name of a path's volume, which is readable and unique: the digits tell equal words apart."""
    words = "-".join(re.findall(r"[a-z0-9]+", path.lower()))[:32].strip("-")
    digits = hashlib.sha256(f"{habitat}\0{path}".encode()).hexdigest()[:8]
    return "-".join(filter(None, ("habitat", habitat, words, digits)))


def volumes_of(engine: Engine, habitat: str) -> list[Volume]:
    """List the persistent volumes of a habitat, including those of paths that its config no longer names.

    A person's copy of a volume may have its labels, but doesn't have its name.
    """
    volumes = engine.volumes(label=f"{image_names.LABEL_NAME}={habitat}")
    return [volume for volume in volumes if volume.name == volume_name(habitat, volume.labels.get(LABEL_PERSIST, ""))]


def collect_replaced_files(project: Project, habitat: str, container: Container) -> None:
    """Move files that have replaced their links, or that are new, to their volumes, and warn of those that stay.

    In a container that runs, USER does it. So nothing is read or written that USER could not read or write.
    """
    persistence = persistence_of(container)
    if not persistence.files:
        return
    current = project.engine.container(container.id)
    collect = _collect_as_user if current and current.running else _collect_stopped
    for entry in persistence.files:
        try:
            problem = collect(project.engine, container, entry, persistence.owner)
        except EngineError as error:
            problem = error.message
        if problem:
            text = f"{entry.path} does not persist yet: {problem}; it is in {container.name}"
            project.bus.emit(events.Notice(habitat, text, warning=True))


def _collect_as_user(engine: Engine, container: Container, entry: PersistentPath, owner: tuple[int, int]) -> str:
    """Collect a file in a container that runs. Returns why it can't be, "" on success."""
    argv = ("/bin/sh", "-e", "-c", "--", _COLLECT.text, "sh", entry.resolved, entry.file, entry.path)
    user = ":".join(map(str, owner))
    env = root_environment.OWN
    exit_code, output = timed_exec.run(engine, container.id, argv, user=user, env=env, seconds=_TIMEOUT)
    if exit_code is None:
        return f"collecting it took longer than {_TIMEOUT}s"
    return (output or f"exit code {exit_code}") if exit_code else ""


def _collect_stopped(engine: Engine, container: Container, entry: PersistentPath, owner: tuple[int, int]) -> str:
    """Collect a file in a container that doesn't run. Returns why it can't be, "" on success."""
    try:
        path = safe_paths.paths_in(engine, container.id).resolve(entry.resolved, last=False)
    except LinkInTheWay as error:
        return error.message
    if volume := next((bind.dest for bind in container.binds if mount_rules.within(path, bind.dest)), ""):
        return f"it is in the volume {volume}"
    stat = engine.stat(container.id, path)
    if stat and stat.link == entry.file:
        return ""
    info = engine.path_info(container.id, path, content=True) if stat else None
    if info and (refusal := _refusal(info, entry, owner)):
        return refusal
    if info is None and engine.stat(container.id, entry.file) is None:
        return ""
    from phases.core.files.tar import Archive

    with Archive() as archive:
        if info:
            archive.add(entry.file, "file", info.mode & 0o777, owner, content=info.content)
        archive.add(path, "link", 0o777, owner, target=entry.file)
        engine.put_archive(container.id, "/", archive.finish())
    return ""


def _refusal(info: PathInfo, entry: PersistentPath, owner: tuple[int, int]) -> str:
    """Return why a path is not collected, "" for a file of USER. `collect_replaced_file.sh` has the same rules."""
    if info.kind == "link":
        return "it is a link, which is not followed"
    if info.kind == "dir":
        return f"it is a folder, which {entry.path}/ would keep"
    if info.kind == "other":
        return "it is no file"
    return "" if info.uid == owner[0] else "it belongs to another user"
