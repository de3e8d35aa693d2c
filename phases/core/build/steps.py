"""The steps of a phase that need no command: put entries into the container, and check that paths exist."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phases.core.build.container.outbox import PendingEntry
from phases.core.errors import PathsMissing, StepError

if TYPE_CHECKING:
    from phases.core.build.container.container import BuildContainer
    from phases.protocol import Copy, RequirePaths

# As many links in a row as Linux follows.
_MAX_LINKS = 40


def copy(container: BuildContainer, step: Copy) -> None:
    """Put the entries of a step into the container. Raises StepError, with the place of the entry."""
    users = container.users
    for entry in step.entries:
        dest = users.expand(entry.dest, entry.owner, entry.origin)
        owner = users.ids(entry.owner, entry.origin)
        pending = PendingEntry(
            entry.kind,
            entry.mode,
            owner,
            entry.source,
            entry.content,
            entry.target,
            entry.adopt,
            entry.sha256,
            origin=entry.origin,
        )
        try:
            container.put(dest, pending)
        except StepError as error:
            error.where = error.where or entry.origin
            raise


def require_paths(container: BuildContainer, step: RequirePaths, user: str) -> None:
    """Raise PathsMissing unless all paths of a step exist. user: whose home `~` is."""
    users = container.users
    paths = [(users.expand(path, user, origin), origin) for path, origin in step.paths]
    missing = [(path, origin) for path, origin in paths if not _exists(container, path)]
    if missing:
        names = ", ".join(path for path, _ in missing)
        count = f"{len(missing)} required path{'s are' if len(missing) > 1 else ' is'} missing"
        raise PathsMissing(f"{count}: {names}", where=missing[0][1], remedy=step.hint)


def _exists(container: BuildContainer, path: str) -> bool:
    for _ in range(_MAX_LINKS):
        stat = container.stat(path)
        if stat is None or not stat.link:
            return stat is not None
        path = stat.link
    return False
