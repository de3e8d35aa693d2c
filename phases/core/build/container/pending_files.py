"""The files of a container that is filled: what is known of them, and what is put in with the next archive."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

from msgspec.structs import replace

from phases.core.build.container import clash
from phases.core.build.container.file_cache import FileCache, FolderCache
from phases.core.build.container.outbox import Outbox, PendingEntry
from phases.core.container.safe_paths import SafePaths
from phases.core.engine.types import Stat
from phases.core.errors import EngineError, EngineUnreachable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from phases.core.build.container.mounted_folders import MountedFolders
    from phases.core.engine.protocol import Engine


class PendingFiles:
    """The files of one container, in most cases a build container.

    Args:
        engine: The engine of the container.
        mounted: The folders on which something is mounted. No file is put there.
        known: What is known of the files of the image that the phase starts from.
        open_container: Returns the id of the container, which is made when it is first needed.
        place: What has the files that are there before, for errors.

    Attributes:
        outbox: What was put, and not sent yet.
        contents: What is known of files.
        folders: What is known of folders.
    """

    def __init__(
        self,
        engine: Engine,
        mounted: MountedFolders,
        known: Mapping[str, bytes],
        open_container: Callable[[], str],
        place: str = "the image",
    ) -> None:
        self._engine = engine
        self._mounted = mounted
        self._open = open_container
        self._place = place
        self.outbox = Outbox()
        self.contents = FileCache(self._of_image(known), self.edition)
        self.folders = FolderCache()

    @property
    def of_image(self) -> dict[str, bytes]:
        """The contents that are known for sure, without those of mounts, which are no part of an image."""
        return self._of_image(self.contents.sure)

    def _of_image(self, known: Mapping[str, bytes]) -> dict[str, bytes]:
        return {path: data for path, data in known.items() if path not in self._mounted}

    def read(self, path: str) -> bytes:
        """Return the content of a file that was sent, b"" for none."""
        if path not in self.contents.sure:
            self._open()  # the container of the phase before may know more
        if path not in self.contents:
            self.contents.learn(path, self._engine.read_file(self._open(), path) or b"")
        return self.contents[path]

    def edition(self, path: str) -> str:
        """Return the edition of a file that was sent, "" if it has none."""
        stat = self._engine.stat(self._open(), path)
        return stat.edition if stat else ""

    def doubt(self) -> None:
        """Forget what a command that is about to run may change."""
        self.folders.doubt()
        self.contents.doubt()

    def put(self, dest: str, entry: PendingEntry) -> None:
        """Put something at `dest`, with the folders above it that are missing.

        A folder that exists keeps its mode, and its owner unless it is adopted.

        Raises:
            StepError: `dest` is on a mount, or is reached through a link that USER can have made.
        """
        dest = self._paths.resolve(dest, last=entry.kind == "dir")
        if not entry.is_mount_point:
            self._mounted.check(dest, self._paths, is_dir=entry.kind == "dir")
        elif self._before(dest):
            return
        self.outbox.open()
        for path in self._missing_above(dest):
            self.outbox.add(path, PendingEntry("dir", 0o755, entry.owner, origin=entry.origin))
            self.folders.modes[path] = 0o755
        if entry.kind == "dir":
            before = self._before(dest)
            if before and before.is_dir and not entry.adopt:
                return
            if before and before.is_dir:
                entry = replace(entry, mode=before.mode)
            else:
                self.folders.modes[dest] = entry.mode
        else:
            self.folders.others.add(dest)
        self.outbox.add(dest, entry)
        if entry.kind == "file" and entry.source is None:
            self.contents.learn(dest, entry.content)
        else:
            self.contents.drop(dest)

    @property
    def _paths(self) -> SafePaths:
        info = self._engine.path_info
        return SafePaths(self._before, lambda path: info(self._open(), path), self.folders.there)

    def _before(self, path: str) -> Stat | None:
        """Return what is at `path`, pending folders included."""
        container = self._open()  # the container of the phase before may know more
        if path in self.folders.modes:
            return Stat(is_dir=True, mode=self.folders.modes[path])
        return None if self.folders.is_empty_at(path) else self._engine.stat(container, path)

    def _missing_above(self, dest: str) -> list[str]:
        """List the missing folders above `dest`, the highest first."""
        missing: list[str] = []
        parent = posixpath.dirname(dest)
        self._open()
        while parent != "/" and parent not in self.folders.there:
            if self._before(parent):
                self.folders.there.add(parent)
                break
            missing.append(parent)
            parent = posixpath.dirname(parent)
        return missing[::-1]

    def send(self) -> None:
        """Send what was put."""
        if archive := self.outbox.take():
            with archive:
                try:
                    self._engine.put_archive(self._open(), "/", archive.finish())
                except EngineUnreachable:
                    raise
                except EngineError as error:
                    entries = self.outbox.entries
                    raise clash.error_of(self._engine, self._open(), entries, self._place) or error from error
