"""Explain why the engine refused files: the container has a folder at the place of a file, or the other way round."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phases.core.container.safe_paths import above
from phases.core.errors import StepError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from phases.core.build.container.outbox import PendingEntry
    from phases.core.engine.protocol import Engine


def error_of(
    engine: Engine, container: str, entries: Iterable[tuple[str, PendingEntry]], place: str
) -> StepError | None:
    """Return the error of the first entry whose path in the container is of another kind, None if there is none.

    Args:
        engine: The engine.
        container: The id of the container.
        entries: The files and folders that were sent, in order, each with its path.
        place: What has the other files, for the error.
    """
    for path, entry in entries:
        for folder in above(path):
            stat = engine.stat(container, folder)
            if stat and not stat.is_dir:
                problem = f"{folder} is a file in {place}, and {path} is to be copied below it"
                return StepError(problem, where=entry.origin, remedy="write another dest")
        stat = engine.stat(container, path)
        if stat is None or stat.is_dir == (entry.kind == "dir"):
            continue
        if entry.kind == "dir":
            problem = f"{path} is a file in {place}, and a folder is to be copied there"
            return StepError(problem, where=entry.origin, remedy="write another dest")
        problem = f"{path} is a folder in {place}, and a {entry.kind} is to be copied there"
        return StepError(problem, where=entry.origin, remedy=f"write {path}/ to copy it into the folder")
    return None
