"""Work of a person that is lost, or out of sight, with a container."""

from __future__ import annotations

from msgspec import Struct, field

from phases.core.events.json_event import JsonEvent


class RepositoryWork(Struct, frozen=True, omit_defaults=True):
    """The work in a repository that may be nowhere else.

    Attributes:
        path: Its folder in the habitat.
        branch: Its branch, left out if HEAD is detached.
        unpushed: The commits that no remote-tracking branch has.
        stashes: The number of stashes.
        changed: The number of files that differ from the last commit, new ones among them; at least so many if
            `has_more`.
        has_more: Whether more files differ.
        operation: A `merge`, `rebase`, `cherry-pick`, `revert` or `bisect` that was begun.
        problem: Why it can't be read, or not in full.
    """

    path: str
    branch: str = ""
    unpushed: int = 0
    stashes: int = 0
    changed: int = 0
    has_more: bool = False
    operation: str = ""
    problem: str = ""


class ContainerWork(Struct, frozen=True, omit_defaults=True):
    """The work in a container that no volume keeps.

    Attributes:
        files: The number of paths that were added, changed or deleted outside of repositories and kept paths.
        repositories: The repositories with work in them.
        problem: Why the repositories can't be read.
    """

    files: int = 0
    repositories: list[RepositoryWork] = field(default_factory=list)
    problem: str = ""


class ContainerHolds(JsonEvent, frozen=True):
    """The `work` that `destroy` would remove with a container. The line about the container follows."""

    habitat: str
    container: str
    work: ContainerWork
