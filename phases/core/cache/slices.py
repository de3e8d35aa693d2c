"""Slices: the part of a config that one phase depends on, as canonical JSON.

The file is the hash's input, byte for byte: `sha256sum .stamps/NAME/7-setup.json` prints the label
`setup.hash` of the snapshot.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from phases.core.errors import state_error
from phases.core.files import atomic, safe_open

if TYPE_CHECKING:
    from pathlib import Path

    from phases.protocol import Json


def canonical(value: Json) -> bytes:
    """Keys sorted, no spaces, UTF-8, no newline at the end."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    # A file name that is no UTF-8 arrives as lone surrogates.
    return text.encode("utf-8", "backslashreplace")


def digest(value: Json) -> str:
    """All 64 hex digits of the sha256 of the canonical form."""
    return hashlib.sha256(canonical(value)).hexdigest()


def sweep(folder: Path) -> None:
    """Remove what `write_if_changed` was about to put in place when its process was killed."""
    try:
        atomic.sweep(folder)
    except OSError as error:
        raise state_error(folder, "swept", error) from error


def _holds(path: Path, data: bytes) -> bool:
    """Whether that is what is at `path`; what can't be read is replaced, if it can be."""
    try:
        return not path.is_symlink() and safe_open.read(path, len(data)) == data
    except OSError:
        return False


def write_if_changed(path: Path, data: bytes) -> None:
    """Write `data`, whole or not at all, unless it is there already. Raises StateError."""
    try:
        if _holds(path, data):
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic.file(path) as (fresh, out):
            out.write(data)
            out.flush()
            fresh.replace(path)
    except OSError as error:
        raise state_error(path, "written", error) from error
