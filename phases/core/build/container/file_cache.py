"""What is known of the files in a build container and in images, so that they aren't read again.

To read one costs the engine thirty milliseconds, and to ask of which edition it is, one. A command may have
written any of them; so what was read before it is true of the edition that it was read of. An image never
changes, so what was read of one is kept for other runs.
"""

from __future__ import annotations

import contextlib
import json
import posixpath
import threading
from typing import TYPE_CHECKING, TypeAlias

from phases.core.errors import StateError
from phases.core.files import atomic, safe_open

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from phases.core.project import Project

#: Image id to what is known of its files, by path.
ImageContents: TypeAlias = "dict[str, dict[str, bytes]]"

# Images that are remembered: those of a habitat, and some of before.
_MOST = 24

# Bytes of the file that remembers: far above any.
_LARGEST = 20_000_000


class FileCache:
    """The contents of files by path.

    Args:
        sure: What is known for sure.
        edition: Returns the edition of a file, "" if it has none.
    """

    def __init__(self, sure: Mapping[str, bytes], edition: Callable[[str], str]) -> None:
        self.sure = dict(sure)
        self.of_editions: dict[str, tuple[str, bytes]] = {}
        self._edition = edition

    def __contains__(self, path: str) -> bool:
        """Return whether the content is known, which may take a question."""
        if path not in self.sure and path in self.of_editions:
            edition, data = self.of_editions[path]
            if edition and self._edition(path) == edition:
                self.sure[path] = data
        return path in self.sure

    def __getitem__(self, path: str) -> bytes:
        return self.sure[path]

    def learn(self, path: str, data: bytes) -> None:
        self.drop(path)
        self.sure[path] = data

    def drop(self, path: str) -> None:
        """Forget a file, which has changed."""
        self.sure.pop(path, None)
        self.of_editions.pop(path, None)

    def confirm(self) -> None:
        """Find out which of them no command has written since."""
        for path in self.of_editions:
            path in self  # noqa: B015 (asks)

    def doubt(self) -> None:
        """Be sure of no file, because a command that is about to run may write any of them."""
        for path, data in self.sure.items():
            if path not in self.of_editions:
                self.of_editions[path] = (self._edition(path), data)
        self.sure.clear()


class FolderCache:
    """What is known of a container's folders since the last command.

    Attributes:
        there: Some of the folders that exist.
        made: The folders that the build has made, with their modes.
        others: What else the build has put in.
    """

    def __init__(self) -> None:
        self.there: set[str] = set()
        self.made: dict[str, int] = {}
        self.others: set[str] = set()

    def doubt(self) -> None:
        """Forget everything, because a command that is about to run may change it."""
        self.there.clear()
        self.made.clear()
        self.others.clear()

    def is_empty_at(self, path: str) -> bool:
        """Return whether a path is certainly free: a folder that the build made holds only what it put there."""
        return posixpath.dirname(path) in self.made and path not in self.made and path not in self.others


class KnownFiles:
    """What is known of the files in the images of a project's habitats, from this run and from earlier ones."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._known: dict[str, ImageContents] = {}
        self._lock = threading.Lock()

    def of(self, name: str) -> ImageContents:
        """Return what is known of a habitat's images, for a build to use and to add to."""
        with self._lock:
            if name not in self._known:
                self._known[name] = recall(self._path(name))
            return self._known[name]

    def save(self, name: str) -> None:
        """Write down what is known of a habitat's images, for other runs."""
        note(self._path(name), self.of(name))

    def _path(self, name: str) -> Path:
        return self._project.state_folder(name) / "contents"


def recall(path: Path) -> ImageContents:
    """Return what an earlier run has written to `path`, nothing if the file is gone or broken."""
    try:
        known = json.loads(safe_open.read(path, _LARGEST) or b"{}")
        return {image: {name: text.encode("latin-1") for name, text in rows.items()} for image, rows in known.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def note(path: Path, known: ImageContents) -> None:
    """For other runs, of the last images. What can't be written is read again."""
    rows = {
        image: {name: data.decode("latin-1") for name, data in contents.items()}
        for image, contents in list(known.items())[-_MOST:]
    }
    with contextlib.suppress(StateError):
        atomic.write_if_changed(path, json.dumps(rows, separators=(",", ":")).encode())
