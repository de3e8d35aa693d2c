"""The archive of files that are sent to a build container next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from phases.core.files.tar import Archive

if TYPE_CHECKING:
    from pathlib import Path

    from phases.core.origin import Origin


class PendingEntry(Struct, frozen=True):
    """A file, folder or link to put into a build container.

    Attributes:
        kind: What it is.
        mode: Its mode.
        owner: Its uid and gid, and those of missing folders above it.
        source: The file of the host that has the content.
        content: The content of a file without a source.
        target: Where a link leads.
        adopt: Whether a folder that exists gets owner and mode too.
        sha256: The digest of `source`.
        is_mount_point: Whether something is mounted there later. It is put only if nothing is there.
        origin: The place in the config that asks for it.
    """

    kind: Literal["file", "dir", "link"]
    mode: int
    owner: tuple[int, int]
    source: Path | None = None
    content: bytes = b""
    target: str = ""
    adopt: bool = False
    sha256: str = ""
    is_mount_point: bool = False
    origin: Origin | None = None


class Outbox:
    """The archive, and the paths that only the engine can describe, once it has unpacked the archive."""

    def __init__(self) -> None:
        self._archive: Archive | None = None
        self._links: set[str] = set()  # only the engine knows what is below them
        self._copied: set[str] = set()  # files of which only the archive has the content
        self.entries: list[tuple[str, PendingEntry]] = []  # of the archive, and of the one that was taken last

    @property
    def is_open(self) -> bool:
        """Return whether there is an archive to send."""
        return self._archive is not None

    def open(self) -> None:
        """Begin an archive, unless there is one."""
        if self._archive is None:
            self._archive, self.entries = Archive(), []

    def add(self, path: str, entry: PendingEntry) -> None:
        """Add an entry to the open archive."""
        assert self._archive
        self.entries.append((path, entry))
        if entry.kind == "link":
            self._links.add(path)
        self._archive.add(
            path, entry.kind, entry.mode, entry.owner, entry.source, entry.content, entry.target, entry.sha256
        )
        if entry.kind != "file" or entry.source:
            self._copied.add(path)

    def needs_sending(self, path: str) -> bool:
        """Return whether only the engine can tell what is at `path`, once it has the archive."""
        return path in self._copied or self.is_below_a_link(path)

    def is_below_a_link(self, path: str) -> bool:
        """Return whether the archive has a link at `path`, or above it."""
        return any(path == link or path.startswith(f"{link}/") for link in self._links)

    def take(self) -> Archive | None:
        """Return the archive, None if there is none. The outbox is empty then."""
        archive, self._archive = self._archive, None
        self._links.clear()
        self._copied.clear()
        return archive

    def discard(self) -> None:
        """Send nothing."""
        if self._archive:
            self._archive.close()
