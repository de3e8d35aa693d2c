"""A folder below a habitat's state for as long as a run wants it. Its lock ends with the run, however that ends, and
what a killed run has left is removed by the next run of the habitat.
"""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from phases.core.files.locks import FileLock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_PREFIX, _LOCK = "passing.", "lock"


class _InUseError(Exception):
    """The run that made a folder goes on."""


@contextmanager
def temporary_folder(state: Path) -> Iterator[Path]:
    """A new folder below `state`, the habitat's, that nobody else is at. It is gone afterwards. Raises StateError."""
    sweep(state)
    folder = state / f"{_PREFIX}{os.urandom(8).hex()}"
    try:
        with _held(folder):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sweep(state: Path) -> None:
    """Remove those of killed runs."""
    for folder in state.glob(f"{_PREFIX}*"):
        with suppress(_InUseError), _held(folder):
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    lock = FileLock(folder / _LOCK)
    lock.acquire(_refuse)
    try:
        yield
    finally:
        lock.release()


def _refuse(_holder: str) -> None:
    raise _InUseError
