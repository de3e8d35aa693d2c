"""The events of commits that come out of a habitat or go into it."""

from __future__ import annotations

from msgspec import Struct

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


class NewCommit(Struct, frozen=True):
    """A commit of a habitat that its remote has not."""

    id: str
    author: str
    subject: str


class ChangedFile(Struct, frozen=True, omit_defaults=True):
    """A file that differs. `added` and `removed` count lines; a binary file has none."""

    path: str
    added: int | None = None
    removed: int | None = None


class RepositoryChanged(JsonEvent, frozen=True):
    """The answer of `habitat changes` for one `repository` of a habitat. All names in it are the agent's.

    `commits` counts those since `base`, the commit that was cloned; `new_commits` lists the newest. `files` differ from
    `base`; `untracked` lists the others. `uncommitted` counts those that differ from the last commit.
    """

    habitat: str
    repository: str
    branch: str
    commits: int
    new_commits: tuple[NewCommit, ...]
    files: tuple[ChangedFile, ...]
    untracked: tuple[str, ...]
    uncommitted: int
    base: str = ""


class CommitsSent(JsonEvent, frozen=True):
    """Commits of the repository `source` of this machine are in a habitat's `repository`, as refs/remotes/host/BRANCH.

    `branch` is that of this machine. `moved` is the branch in the habitat that moved forward to it.
    """

    habitat: str
    repository: str
    source: str
    branch: str
    commits: int
    moved: str = ""
