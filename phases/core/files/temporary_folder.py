"""A temporary folder of one run, below the state of a habitat.

A lock in the folder ends with the run, however that ends. So the next run of the habitat can remove what a killed run
left.
"""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from phases.core.files.locks import FileLock

if TYPE_CHECKING:
    from collections.abc import Iterator

_PREFIX, _LOCK = "passing.", "lock"


class _InUseError(Exception):
    """The run that made the folder is still running."""


@contextmanager
def temporary_folder(state: Path) -> Iterator[Path]:
    """Yield a new folder below `state`, the state of a habitat, and remove it afterwards. Raises StateError."""
    sweep(state)
    folder = state / f"{_PREFIX}{os.urandom(8).hex()}"
    try:
        with _locked(folder):
            yield folder
    finally:
        _remove(folder)


def sweep(state: Path) -> None:
    """Remove the temporary folders that killed runs left below `state`."""
    for folder in state.glob(f"{_PREFIX}*"):
        with suppress(_InUseError), _locked(folder):
            _remove(folder)


def _remove(folder: Path) -> None:
    """Remove a folder with all in it, also what a folder with an exact mode of a context protects from its owner."""
    shutil.rmtree(folder, ignore_errors=True)
    if not folder.exists():
        return
    with suppress(OSError):
        for place, names, _ in os.walk(folder):
            for name in names:
                path = Path(place, name)
                if not path.is_symlink():
                    path.chmod(0o700)  # before the walk enters it
    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    lock = FileLock(folder / _LOCK)
    lock.acquire(_refuse)
    try:
        yield
    finally:
        lock.release()


def _refuse(_holder: str) -> None:
    raise _InUseError
