"""Keep what `habitat migrate` replaces, beside the new file."""

from __future__ import annotations

import os
from itertools import count
from typing import TYPE_CHECKING

from phases.core.copied_files import BEFORE_MIGRATION
from phases.core.files import atomic, safe_open

if TYPE_CHECKING:
    from pathlib import Path


def path_for(path: Path, old: bytes) -> Path:
    """Return the path of the backup with the old content of a file, or the first free one for it.

    An earlier backup may be the only copy of what somebody wrote, so none is ever replaced.
    """
    names = (f"{path.name}{BEFORE_MIGRATION}" + (f"-{number}" if number > 1 else "") for number in count(1))
    paths = (path.with_name(name) for name in names)
    return next(one for one in paths if not os.path.lexists(one) or _holds(one, old))


def keep(path: Path, old: bytes | None) -> None:
    """Write the backup of a file; `old` is None for a file that was not there. Raises StateError."""
    if old is not None:
        atomic.write_if_changed(path_for(path, old), old)


def _holds(path: Path, data: bytes) -> bool:
    try:
        return safe_open.read(path, len(data)) == data
    except OSError:
        return False
