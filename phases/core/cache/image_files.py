"""Remembers the files of images that were read, so that no other run reads them again.

Reading a file takes the engine thirty milliseconds, and an image never changes. What is on a mount of a container is no
part of its image, and what a container has that has run may differ from it.
"""

from __future__ import annotations

import contextlib
import json
import threading
from typing import TYPE_CHECKING, TypeAlias

from phases.core.errors import StateError
from phases.core.files import atomic, safe_open

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

#: Image id to what is known of its files, by path.
ImageContents: TypeAlias = "dict[str, dict[str, bytes]]"

# Images that are remembered: those of a habitat, and some earlier ones.
_MAX_IMAGES = 24

# Bytes of the file in which images are remembered: more than any has.
_MAX_BYTES = 20_000_000


class KnownFiles:
    """The files of images of a project's habitats that were read in this run or an earlier one.

    Args:
        state_folder: Returns the folder of a habitat's state.
    """

    def __init__(self, state_folder: Callable[[str], Path]) -> None:
        self._state_folder = state_folder
        self._known: dict[str, ImageContents] = {}
        self._lock = threading.Lock()

    def of(self, name: str) -> ImageContents:
        """Return what is known of a habitat's images. What is read is added to it."""
        with self._lock:
            if name not in self._known:
                self._known[name] = _read(self._path(name))
            return self._known[name]

    def save(self, name: str) -> None:
        """Write what is known of a habitat's images, for other runs."""
        _write(self._path(name), self.of(name))

    def _path(self, name: str) -> Path:
        return self._state_folder(name) / "contents"


def _read(path: Path) -> ImageContents:
    """Return what an earlier run has written to `path`, nothing if the file is gone or broken."""
    try:
        known = json.loads(safe_open.read(path, _MAX_BYTES) or b"{}")
        return {image: {name: text.encode("latin-1") for name, text in rows.items()} for image, rows in known.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _write(path: Path, known: ImageContents) -> None:
    """Write what is known of the last images. If that fails, a later run reads the files again."""
    rows = {
        image: {name: data.decode("latin-1") for name, data in contents.items()}
        for image, contents in list(known.items())[-_MAX_IMAGES:]
    }
    with contextlib.suppress(StateError):
        atomic.write_if_changed(path, json.dumps(rows, separators=(",", ":")).encode())
