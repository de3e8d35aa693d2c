"""Copies the files of `entry.files` into a habitat's container, before each of its starts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from phases import p06_files
from phases.core import events
from phases.core.build import steps
from phases.core.build.container.mounted_folders import MountedFolders
from phases.core.build.container.pending_files import PendingFiles
from phases.core.config.layers import personal
from phases.core.config.mounts.mountable_paths import in_home
from phases.core.config.mounts.volume_conflicts import hidden_at_start
from phases.core.errors import LinkInTheWay, StepError
from phases.core.files import atomic, safe_open
from phases.core.json_types import digest
from phases.core.runtime.session.image_users import users_of_image

if TYPE_CHECKING:
    from pathlib import Path

    from phases.core.build.container.outbox import PendingEntry
    from phases.core.container.safe_paths import SafePaths
    from phases.core.container.users import UserDatabase
    from phases.core.engine.types import Container
    from phases.core.model import FileCopy, Habitat
    from phases.core.project import Project

# The file in the habitat's state folder with what was copied last, and its bytes at most.
_RECORD, _MOST = "entry-files", 1_000_000


class _Mounts(MountedFolders):
    """The volumes of the habitat. What a copy would write there, it would write to the host."""

    def check(self, path: str, paths: SafePaths, *, is_dir: bool) -> None:
        del is_dir  # a folder would be made on the host as well
        self._resolve(paths)
        if folder := self._folder_above(path):
            problem = f"entry.files: {path} would be written to the host, since it is in the {self._folders[folder]}"
            raise StepError(problem, remedy="write another dest, or remove the volume")
        if reason := hidden_at_start(path):
            raise StepError(f"entry.files: nothing can be copied to {path}: {reason}", remedy="write another dest")


class _Target:
    """A container in which nothing runs, so that nobody replaces a folder by a link between a check and a write.

    Only a process in an earlier container that somebody still uses could do so, on a persistent volume of both. The
    engine follows no link out of the container, so a file of the config would be put elsewhere in this container.

    steps.copy puts files into it.
    """

    def __init__(self, project: Project, habitat: Habitat, container: Container) -> None:
        self.users: UserDatabase = users_of_image(project, habitat, container)
        home = self.users.home(habitat.user)
        origins = {in_home(volume.dest, home): volume.origin for volume in habitat.volumes if volume.present}
        volumes = {dest: f"volume {dest} ({origin})" for dest, origin in origins.items()}
        mounts = _Mounts(volumes, (), lambda: home)
        self._files = PendingFiles(project.engine, mounts, {}, lambda: container.id, container.name)

    def put(self, dest: str, entry: PendingEntry) -> None:
        """Put something at `dest`, as PendingFiles.put does."""
        if self._files.outbox.is_below_a_link(dest):
            self.send()
        self._files.put(dest, entry)

    def send(self) -> None:
        """Send what was put."""
        self._files.send()

    def discard(self) -> None:
        """Send nothing more."""
        self._files.outbox.discard()


def copy_into(project: Project, habitat: Habitat, container: Container) -> None:
    """Copy the files into a container that doesn't run.

    Raises:
        ConfigError: A source can't be read, or is not the person's alone as it must be, or the image has no such owner.
        StepError: A file can't be copied to its dest.
    """
    target = _Target(project, habitat, container)
    try:
        for copy in habitat.entry.files:
            personal.check_tree(habitat, copy)
            steps.copy(target, p06_files.copy_file(habitat, copy))
        target.send()
    except LinkInTheWay as error:
        error.remedy = "start it without this entry and remove the link, or write another dest"
        raise
    finally:
        target.discard()
    record = {"container": container.id, "files": [_state(habitat, copy) for copy in habitat.entry.files]}
    atomic.write_if_changed(_record_file(project, habitat), json.dumps(record).encode())


def paths_in(project: Project, habitat: Habitat, container: Container) -> set[str]:
    """Return the paths that each start of a container copies. They may have links in them. Raises ConfigError."""
    users = users_of_image(project, habitat, container)
    copied = [entry for copy in habitat.entry.files for entry in p06_files.copy_file(habitat, copy).entries]
    return {users.expand(entry.dest, entry.owner, entry.origin) for entry in copied}


def report_changes(project: Project, habitat: Habitat, container: Container) -> None:
    """Say which files a running container doesn't have in today's version."""
    copied = _copied_into(_record_file(project, habitat), container.id)
    changed = [copy for copy in habitat.entry.files if _state(habitat, copy) not in copied]
    if changed:
        names = ", ".join(f"{copy.shown} ({copy.origin})" for copy in changed)
        text = f"entry.files: {names} changed while {container.name} runs: copied at its next start"
        project.bus.emit(events.Notice(habitat.name, text))


def _record_file(project: Project, habitat: Habitat) -> Path:
    return project.state_folder(habitat.name) / _RECORD


def _copied_into(path: Path, container: str) -> list[str]:
    """Return the states of the files that a container got at its last start, none if the record is of another."""
    try:
        record = json.loads(safe_open.read(path, _MOST) or b"{}")
        return list(record["files"]) if record["container"] == container else []
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _state(habitat: Habitat, copy: FileCopy) -> str:
    """Return a text that changes with what an entry copies."""
    return digest(p06_files.file_slice(habitat, copy))
