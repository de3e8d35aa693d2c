"""Paths that a person typed: they are relative to the person's folder, and a run goes to that of the project."""

from __future__ import annotations

import os
from pathlib import Path

_folder: list[Path] = []


def current_folder() -> Path:
    """Return the folder of this process, the root if it was removed."""
    try:
        return Path.cwd()
    except FileNotFoundError:
        return Path("/")


def record_folder() -> None:
    """Record the folder of this process as that of the person."""
    _folder[:] = [current_folder()]


def typed_path(path: str, root: Path) -> str:
    """Return a path that a person typed as it is in the project's folder `root`; "" for ""."""
    if not path or path.startswith("~") or not _folder or _folder[0] == root:
        return path
    return os.path.normpath(_folder[0] / path)


def person_folder(root: Path) -> Path:
    """Return the folder that the person is in. root: that of the project, where `doit` runs."""
    return _folder[0] if _folder else root
