"""Finds out which commands write to files that the engine mounts into the container, because no image keeps that."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phases.core.config.mounts.volume_conflicts import ENGINE_FILES

if TYPE_CHECKING:
    from collections.abc import Callable, Container


class EngineFiles:
    """The files that the engine mounts into the container of one phase.

    Asking for an edition takes the engine a millisecond.

    Args:
        edition: Returns the edition of a file, "" if it has none.
    """

    def __init__(self, edition: Callable[[str], str]) -> None:
        self._edition = edition
        self._before: dict[str, str] = {}
        self._reported: set[str] = set()

    def begin(self, mounted: Container[str]) -> None:
        """Look at the files before a command. mounted: paths at which something else is mounted."""
        watched = [file for file in ENGINE_FILES if file not in mounted and file not in self._reported]
        self._before = {file: self._edition(file) for file in watched}

    def take_written(self) -> list[str]:
        """Return the files that the last command wrote, each at most once in the phase."""
        before, self._before = self._before, {}
        written = [file for file, edition in before.items() if edition and self._edition(file) != edition]
        self._reported.update(written)
        return written
