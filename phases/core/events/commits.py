"""The events of commits that come out of a habitat or go into it."""

from __future__ import annotations

from phases.core.events.json_event import JsonEvent


class BranchWritten(JsonEvent, frozen=True):
    """Commits of a habitat's `repository` are in the `branch` of the repository `into` of this machine.

    The branch moved from `old`, which is left out if it is new, to `commit`; equal ones mean that nothing was new.
    `kept` is the branch that keeps `old` where that is no part of the new history. `verified` is true after a `take`,
    `uncommitted` where the last commit is of work that was not committed.
    """

    habitat: str
    repository: str
    into: str
    branch: str
    commit: str
    commits: int
    old: str = ""
    kept: str = ""
    uncommitted: bool = False
    verified: bool = False
