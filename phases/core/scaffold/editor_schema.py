"""The link to the schema of config.yaml, which the configs of a project name for editors.

A copy would become stale, and the path of the installed program is another one on each machine. So the configs name a
link in the state folder, which no repository has. Each build checks it.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from phases.core import layout
from phases.core.config.json_schema import CONFIG_FILE, PERSONAL_FILE
from phases.core.files import atomic

_PACKAGE = Path(__file__).resolve().parents[2]

#: The schemas that come with the program: of config.yaml, and of the personal config.
CONFIG, PERSONAL = _PACKAGE / CONFIG_FILE, _PACKAGE / PERSONAL_FILE


def place_in(state: str) -> str:
    """Return the link in a state folder."""
    return f"{state}/{CONFIG_FILE}"


def place_of(root: Path) -> str:
    """Return the link of a project, relative to its root."""
    return place_in(str(layout.state_folder(root).relative_to(root)))


def link(root: Path) -> None:
    """Let the link of a project lead to the schema of this program. If it can't be made, only editors lack it."""
    place = root / place_of(root)
    with suppress(OSError):
        if place.is_symlink() and os.readlink(place) == str(CONFIG):  # noqa: PTH115 (Path would normalize it)
            return
        place.parent.mkdir(parents=True, exist_ok=True)
        draft = atomic.draft_path(place)
        draft.symlink_to(CONFIG)
        draft.replace(place)
