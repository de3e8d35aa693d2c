"""The folders of a project: `habitats/`, `shared/` and `.stamps/` at its root, or all three in one folder `.habitats/`.

A project that exists for its habitats has the first form. The second adds a single folder to any other repository:
`.habitats/NAME/` is a habitat, `.habitats/shared/` the shared layer, and `.habitats/.stamps/` the state.
"""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

#: The one folder of the second form.
HIDDEN = ".habitats"

#: The folder of the shared layer that has the project's extends.
EXTENDS = "extends"

#: The folder of the state, which no other machine needs.
STATE = ".stamps"

_HABITATS, _SHARED = "habitats", "shared"


def find_root(start: Path) -> Path | None:
    """Return the root of the project that a folder belongs to: the nearest folder upward with habitats; None for none.

    A folder above `start` in which every user may create files, like /tmp, is passed over: they may be anybody's.
    """
    for folder in (start, *start.parents):
        if (folder / HIDDEN).is_dir() or (folder / _HABITATS).is_dir():
            is_open = bool(folder.stat().st_mode & stat.S_IWOTH)
            if folder == start or not is_open:
                return folder
    return None


def is_hidden(root: Path) -> bool:
    """Return whether the project has the second form. `.habitats/` takes precedence over `habitats/`."""
    return (root / HIDDEN).is_dir()


def habitats_folder(root: Path) -> Path:
    """Return the folder that has a folder for each habitat."""
    return root / (HIDDEN if is_hidden(root) else _HABITATS)


def habitat_folder(root: Path, name: str) -> Path:
    """Return the folder of a habitat."""
    return habitats_folder(root) / name


def shared_folder(root: Path) -> Path:
    """Return the folder of the shared layer."""
    return root / HIDDEN / _SHARED if is_hidden(root) else root / _SHARED


def shared_folders(root: Path) -> list[Path]:
    """Return the folder of the shared layer, that of the project's extends, and the folder of each extend."""
    shared = shared_folder(root)
    return [shared, shared / EXTENDS, *sorted((shared / EXTENDS).glob("*"))]


def state_folder(root: Path) -> Path:
    """Return the folder of stamps, slices, logs and locks."""
    return root / HIDDEN / STATE if is_hidden(root) else root / STATE


def names_habitat(root: Path, name: str) -> bool:
    """Return whether a folder of this name, among those of habitats, is one. Hidden folders and `shared` are none."""
    return can_name_habitat(name) if is_hidden(root) else not name.startswith(".")


def can_name_habitat(name: str) -> bool:
    """Return whether a folder of this name in `.habitats/` is a habitat."""
    return not name.startswith(".") and name != _SHARED


def root_of(state: Path) -> Path:
    """Return the root of the project whose state folder this is."""
    return state.parent.parent if state.parent.name == HIDDEN else state.parent


def shown_state(path: Path) -> str:
    """Return a path below the state folder as a person sees it, relative to the project's root; another path whole."""
    text = str(path)
    start = text.rfind(f"/{STATE}/")
    if start < 0:
        return text
    return text[start + 1 :] if not text[:start].endswith(f"/{HIDDEN}") else text[start - len(HIDDEN) :]
