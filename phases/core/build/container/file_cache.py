"""Remembers the files of a build container, so that they aren't read again.

Reading a file takes the engine thirty milliseconds; asking for its edition (its size and time) takes one. A command may
write any file. So what was read before a command is used again only if the file's edition is still the same.
"""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class FileCache:
    """The contents of files by path.

    Args:
        sure: The contents that are certainly current.
        edition: Returns the edition of a file, "" if it has none.
    """

    def __init__(self, sure: Mapping[str, bytes], edition: Callable[[str], str]) -> None:
        self.sure = dict(sure)
        self.of_editions: dict[str, tuple[str, bytes]] = {}
        self._edition = edition

    def __contains__(self, path: str) -> bool:
        """Return whether the content is known. That may take a request to the engine."""
        if path not in self.sure and path in self.of_editions:
            edition, data = self.of_editions[path]
            if edition and self._edition(path) == edition:
                self.sure[path] = data
        return path in self.sure

    def __getitem__(self, path: str) -> bytes:
        return self.sure[path]

    def learn(self, path: str, data: bytes) -> None:
        """Record the content of a file."""
        self.drop(path)
        self.sure[path] = data

    def drop(self, path: str) -> None:
        """Forget a file, which has changed."""
        self.sure.pop(path, None)
        self.of_editions.pop(path, None)

    def confirm(self) -> None:
        """Find out which files no command has written since they were read."""
        for path in self.of_editions:
            path in self  # noqa: B015 (it asks the engine)

    def doubt(self) -> None:
        """Treat no content as current, because a command that is about to run may write any file."""
        for path, data in self.sure.items():
            if path not in self.of_editions:
                self.of_editions[path] = (self._edition(path), data)
        self.sure.clear()


class FolderCache:
    """The folders of a container that were read since the last command.

    Attributes:
        there: Some of the folders that exist.
        modes: The modes of the folders that the build has created.
        others: The paths of files and links that the build has put in.
    """

    def __init__(self) -> None:
        self.there: set[str] = set()
        self.modes: dict[str, int] = {}
        self.others: set[str] = set()

    def doubt(self) -> None:
        """Forget everything, because a command that is about to run may change it."""
        self.there.clear()
        self.modes.clear()
        self.others.clear()

    def is_empty_at(self, path: str) -> bool:
        """Return whether there is certainly nothing at a path.

        A folder that the build has created holds only what the build has put there.
        """
        return posixpath.dirname(path) in self.modes and path not in self.modes and path not in self.others
