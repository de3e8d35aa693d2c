"""Decides which repository of this machine belongs to a repository in a habitat."""

from __future__ import annotations

import posixpath
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from phases.core import events
from phases.core.commits.host_git import HostGit, TransferError
from phases.core.files import git_bundle
from phases.core.work import repositories
from phases.core.work.states import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from phases.core.engine.types import Container
    from phases.core.model import Habitat, RepoClone
    from phases.core.project import Project
    from phases.core.work.states import RepositoryState


class Match(Struct, frozen=True):
    """A repository in a habitat, and the one of this machine.

    Attributes:
        state: The repository in the habitat.
        clone: Its entry of `repos:`, None if it has none.
        top: The folder of that of this machine, None if there is none.
        reason: Why it is that one; or why there is none, as a problem.
    """

    state: RepositoryState
    clone: RepoClone | None
    top: Path | None
    reason: str


def transfer_each(project: Project, name: str, matches: Iterable[Match], transfer: Callable[[Match], None]) -> None:
    """Call a function for each repository of the habitat `name`, also after an error.

    Raises:
        TransferError: One failed. If several did, warnings tell the others.
    """
    errors: list[TransferError] = []
    for match in matches:
        try:
            transfer(match)
        except TransferError as error:
            error.where = error.where or name
            errors.append(error)
    for other in errors[1:]:
        project.bus.emit(events.Notice(name, str(other), warning=True))
    if errors:
        raise errors[0]


def select(
    project: Project, habitat: Habitat, container: Container, path: str, into: str, folder: Path, option: str = "--into"
) -> list[Match]:
    """Return the repositories that a command is about, each with that of this machine.

    Args:
        project: The project.
        habitat: The habitat.
        container: A running container with its files.
        path: The repository that the person asks for, "" for those of `repos:`, else all in WORKDIR.
        into: The repository of this machine that the person asks for, "" for none.
        folder: The folder that the person is in.
        option: The option for `into`.

    Raises:
        TransferError: There is no such repository, or several for one `into`.
    """
    clones = {path: clone for clone, _, path in repositories.clones(project, habitat, container)}
    selected = chosen(project, habitat, container, path)
    if into and len(selected) > 1:
        paths = ", ".join(shown(state.path) for state in selected)
        raise TransferError(
            f"{option} is for one repository, and there are several: {paths}",
            where=habitat.name,
            remedy="add --repo PATH",
        )
    return [_match(state, clones.get(state.path), into, folder, option) for state in selected]


def chosen(project: Project, habitat: Habitat, container: Container, path: str) -> list[RepositoryState]:
    """Return the repositories that a command is about.

    Args:
        project: The project.
        habitat: The habitat.
        container: A running container with its files.
        path: The one that the person asks for, "" for those of `repos:`, else all in WORKDIR.

    Raises:
        TransferError: There is none.
    """
    rows = repositories.states(project, habitat, container)
    configured = {place for _, _, place in repositories.clones(project, habitat, container)}
    present = [state for state in rows if not state.is_missing]
    if path:
        wanted = posixpath.normpath(posixpath.join(habitat.workdir, path))
        selected = [state for state in present if state.path == wanted]
    else:
        selected = [state for state in present if state.path in configured] or [
            state for state in present if not any(state.path.startswith(f"{other.path}/") for other in present)
        ]
    if selected:
        return selected
    known = ", ".join(shown(state.path) for state in present)
    raise TransferError(
        f"it has no repository {path}" if path else "it has no repository in repos: or WORKDIR",
        where=habitat.name,
        remedy=f"it has {known}" if known else "list one in repos:",
    )


def _match(state: RepositoryState, clone: RepoClone | None, into: str, folder: Path, option: str) -> Match:
    if into:
        path = Path(into).expanduser()
        top = git_bundle.top_of(path) or (path if HostGit(path).is_repository() else None)  # a bare one
        return Match(state, clone, top, f"{option} names it" if top else f"{option} {into} is in no git repository")
    if clone and clone.local:
        return Match(state, clone, clone.local, f"{clone.origin} names it")
    here = git_bundle.top_of(folder)
    if clone and here and git_bundle.address(clone.url) in _addresses(here):
        return Match(state, clone, here, f"it has the remote {clone.url}")
    return Match(state, clone, None, f"no repository of this machine is known to belong to {shown(state.path)}")


def _addresses(top: Path) -> set[str]:
    """Return the remotes of a repository of this machine, as `git_bundle.address` writes them."""
    return {git_bundle.address(url) for url in HostGit(top).config(r"^remote\..*\.url$")}
