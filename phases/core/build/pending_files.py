"""The files of a build container: what is known of them, and what is put in with the next archive.

Each call of the engine's file API costs some fifty milliseconds, so all that is put in is sent in one archive, as
late as possible. What was read is remembered.
"""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

from phases.core.build.file_cache import FileCache, FolderCache
from phases.core.container.safe_paths import SafePaths
from phases.core.engine.types import Stat
from phases.core.errors import StepError
from phases.core.files.tar import Archive

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from pathlib import Path

    from phases.core.engine.protocol import Engine
    from phases.core.model import Habitat


class PendingFiles:
    """The files of one build container.

    Args:
        engine: The engine of the container.
        habitat: The habitat. An error names the line of its config that mounts a folder.
        mounted: The folders on which something is mounted. No file is put there.
        known: What is known of the files of the image that the phase starts from.
        open_container: Returns the id of the container, which is made when it is first needed.
    """

    def __init__(
        self,
        engine: Engine,
        habitat: Habitat,
        mounted: Collection[str],
        known: Mapping[str, bytes],
        open_container: Callable[[], str],
    ) -> None:
        self._engine = engine
        self._habitat = habitat
        self._mounted = mounted
        self._open = open_container
        self._outbox: Archive | None = None
        self._links: set[str] = set()  # links in the outbox: only the engine knows what is below them
        self._copied: set[str] = set()  # files in the outbox of which only the archive knows the content
        self.contents = FileCache(self._of_image(known), self._edition)
        self.folders = FolderCache()

    @property
    def is_pending(self) -> bool:
        """Return whether there are files that were not sent yet."""
        return self._outbox is not None

    @property
    def of_image(self) -> dict[str, bytes]:
        """The contents that are known for sure, without those of mounts, which are no part of an image."""
        return self._of_image(self.contents.sure)

    def _of_image(self, known: Mapping[str, bytes]) -> dict[str, bytes]:
        return {path: data for path, data in known.items() if not self._mount_of(path)}

    def read(self, path: str) -> bytes:
        """Return the content of a file that was sent, b"" for none."""
        if path not in self.contents.sure:
            self._open()  # the container of the phase before may know more
        if path not in self.contents:
            self.contents.learn(path, self._engine.read_file(self._open(), path) or b"")
        return self.contents[path]

    def _edition(self, path: str) -> str:
        stat = self._engine.stat(self._open(), path)
        return stat.edition if stat else ""

    def doubt(self) -> None:
        """Forget what a command that is about to run may change."""
        self.folders.doubt()
        self.contents.doubt()

    def put(  # noqa: PLR0913 (as Archive.add has them)
        self,
        dest: str,
        kind: str,
        mode: int,
        owner: tuple[int, int],
        source: Path | None = None,
        content: bytes = b"",
        target: str = "",
        *,
        adopt: bool = False,
        sha256: str = "",
    ) -> None:
        """Put something at `dest`, with the folders above it that are missing; they belong to `owner`.

        A folder that exists keeps its mode, and its owner unless `adopt`. sha256: the digest of `source`.

        Raises:
            StepError: `dest` is on a mount, or is reached through a link that USER can have made.
        """
        dest = self._paths.resolve(dest, last=kind == "dir")
        self._refuse_mounted(dest)
        outbox = self._outbox = self._outbox or Archive()
        for path in self._missing_above(dest):
            outbox.add(path, "dir", 0o755, owner)
            self.folders.made[path] = 0o755
        if kind == "dir":
            there = self._before(dest)
            if there and there.is_dir and not adopt:
                return
            if there and there.is_dir:
                mode = there.mode
            else:
                self.folders.made[dest] = mode
        else:
            self.folders.others.add(dest)
        if kind == "link":
            self._links.add(dest)
        outbox.add(dest, kind, mode, owner, source, content, target, sha256)
        if kind == "file" and source is None:
            self.contents.learn(dest, content)
        else:
            self.contents.drop(dest)
            self._copied.add(dest)

    @property
    def _paths(self) -> SafePaths:
        info = self._engine.path_info
        return SafePaths(self._before, lambda path: info(self._open(), path), self.folders.there)

    def _refuse_mounted(self, path: str) -> None:
        if place := self._mount_of(path):
            volume = next((v for v in self._habitat.volumes if v.dest == place), None)
            mount = f"the volume {place} ({volume.origin})" if volume else f"the cache {place}"
            raise StepError(
                f"{path} is in {mount}: a build writes nothing into a mount",
                remedy="write another dest, or remove the volume",
            )

    def _mount_of(self, path: str) -> str:
        """Return the mount that `path` is on, "" if it is part of the image."""
        return next((dest for dest in self._mounted if path == dest or path.startswith(f"{dest}/")), "")

    def needs_sending(self, path: str) -> bool:
        """Return whether only the engine can tell what is at `path`, once it has the pending files."""
        return path in self._copied or self.is_below_a_link(path)

    def is_below_a_link(self, path: str) -> bool:
        """Return whether the pending files have a link at `path`, or above it."""
        return any(path == link or path.startswith(f"{link}/") for link in self._links)

    def _before(self, path: str) -> Stat | None:
        """Return what is at `path`, pending folders included."""
        container = self._open()  # the container of the phase before may know more
        if path in self.folders.made:
            return Stat(is_dir=True, mode=self.folders.made[path])
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

    def send(self) -> bool:
        """Send what was put. Return whether there was anything."""
        if not self._outbox:
            return False
        with self._outbox as outbox:
            self._outbox = None
            self._links.clear()
            self._copied.clear()
            self._engine.put_archive(self._open(), "/", outbox.finish())
        return True

    def discard(self) -> None:
        """Send nothing."""
        if self._outbox:
            self._outbox.close()
