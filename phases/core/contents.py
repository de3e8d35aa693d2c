"""What is known of the files in a build container, so that they aren't read again.

To read one costs the engine thirty milliseconds, and to ask of which edition it is, one. A command may have
written any of them; so what was read before it is true of the edition that it was read of.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class Contents:
    """By path. sure: known to be so. edition: asks for the edition of a file, "" where there is none to tell."""

    def __init__(self, sure: Mapping[str, bytes], edition: Callable[[str], str]) -> None:
        self.sure = dict(sure)
        self.of_editions: dict[str, tuple[str, bytes]] = {}
        self._edition = edition

    def __contains__(self, path: str) -> bool:
        """Whether the content is known, which may take a question."""
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
        """It is another from now on."""
        self.sure.pop(path, None)
        self.of_editions.pop(path, None)

    def doubt(self) -> None:
        """A command is about to run, which may write any of them."""
        for path, data in self.sure.items():
            if path not in self.of_editions:
                self.of_editions[path] = (self._edition(path), data)
        self.sure.clear()
