"""Brings the commits of a habitat into branches of repositories of this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from phases.core import command_form, events
from phases.core.commits import branch_names, destination, outgoing
from phases.core.commits.host_git import TransferError
from phases.core.commits.host_repository import WIP_MARK, HostRepository, Written
from phases.core.commits.inside import ContainerRepository, running_container
from phases.core.commits.limits import TransferLimits
from phases.core.commits.quarantine import Quarantine
from phases.core.events.commits import BranchWritten
from phases.core.files.temporary_folder import temporary_folder
from phases.core.work.states import shown

if TYPE_CHECKING:
    from pathlib import Path

    from phases.core.commits.destination import Match
    from phases.core.commits.outgoing import Inside
    from phases.core.engine.types import Container
    from phases.core.project import Project
    from phases.core.work.states import RepositoryState


class FetchRequest(Struct, frozen=True):
    """The options of a fetch.

    Attributes:
        folder: The folder that the person is in.
        repository: The path of one repository in the habitat, "" for all.
        into: The repository of this machine, "" for the one that belongs to it.
        branch: The branch to write, "" for habitat/NAME/BRANCH.
        wip: Whether uncommitted work comes along.
        limits: What may come in.
    """

    folder: Path
    repository: str = ""
    into: str = ""
    branch: str = ""
    wip: bool = False
    limits: TransferLimits = TransferLimits()


def fetch(project: Project, name: str, request: FetchRequest) -> None:
    """Fetch the branches that are checked out in the repositories of a habitat.

    Raises:
        HabitatError: A repository could not be fetched; the others were.
    """
    habitat = project.habitat(name)
    with running_container(project, habitat) as container:
        matches = destination.select(project, habitat, container, request.repository, request.into, request.folder)
        if request.branch and len(matches) > 1:
            paths = ", ".join(shown(match.state.path) for match in matches)
            problem = f"--as is for one repository, and there are several: {paths}"
            raise TransferError(problem, where=name, remedy="add --repo PATH")
        destination.transfer_each(
            project, name, matches, lambda match: _fetch_one(project, name, container, match, request)
        )


def _fetch_one(project: Project, name: str, container: Container, match: Match, request: FetchRequest) -> None:
    state = match.state
    if match.top is None:
        raise TransferError(
            match.reason, remedy=f"`{command_form.verb('fetch', name)} --repo {shown(state.path)} --into PATH`"
        )
    if state.problem:
        raise TransferError(f"{shown(state.path)} can't be read: {state.problem}")
    inside = ContainerRepository(project.engine, container.id, state.user, state.path)
    fetched = fetch_branch(
        name, inside, match.top, project.state_folder(name), request.limits, name=request.branch, wip=request.wip
    )
    written = fetched.written
    project.bus.emit(
        BranchWritten(
            name,
            state.path,
            str(match.top),
            written.branch,
            written.new,
            fetched.commits,
            written.old,
            written.kept,
            fetched.has_wip,
        )
    )
    for text in _lines(state, match, fetched, wip=request.wip):
        project.bus.emit(events.Notice(name, text))


def _lines(state: RepositoryState, match: Match, fetched: Fetched, *, wip: bool) -> list[str]:
    """Return the messages about a fetched branch."""
    written, path = fetched.written, shown(state.path)
    if written.old == written.new:
        lines = [f"{path}: nothing new; branch {written.branch} in {match.top} has it all"]
    elif not fetched.commits:
        lines = [f"{path}: branch {written.branch} in {match.top} is at {written.new[:12]} now, which was here already"]
    else:
        commits = f"{fetched.commits} commit{'s' if fetched.commits != 1 else ''}"
        lines = [f"{path}: {commits} → branch {written.branch} in {match.top} ({match.reason})"]
    if fetched.has_wip:
        lines.append("its last commit is the uncommitted work")
    if written.kept:
        lines.append(f"the history was rewritten: the branch was at {written.old[:12]}, which {written.kept} keeps")
    if not fetched.is_related:
        lines.append(f"it has no commit in common with {match.top}")
    count = len(state.changed) + len(state.untracked)
    if count and not wip:
        files = f"{'at least ' if state.has_more else ''}{count} file{'s' if count > 1 else ''}"
        lines.append(f"{path}: {files} not committed: --wip brings them")
    return lines


class Fetched(Struct, frozen=True):
    """The result of fetching a branch.

    Attributes:
        written: The branch of this machine.
        commits: The number of commits that no branch of this machine had.
        has_wip: Whether the last of them is of uncommitted work.
        is_related: Whether the repository had a part of the history before.
    """

    written: Written
    commits: int
    has_wip: bool
    is_related: bool


def fetch_branch(
    habitat: str, inside: Inside, top: Path, state: Path, limits: TransferLimits, *, name: str = "", wip: bool = False
) -> Fetched:
    """Bring the branch that is checked out in a repository of a habitat into a repository of this machine.

    Args:
        habitat: The name of the habitat.
        inside: The repository in the habitat.
        top: The folder of the repository of this machine.
        state: The folder of the habitat's state, which gets the quarantine.
        limits: What may come in.
        name: The branch to write, "" for habitat/HABITAT/BRANCH.
        wip: Whether uncommitted work comes along, as a commit on top.

    Raises:
        HabitatError: It is refused. Nothing was written.
    """
    host = HostRepository(top)
    given = outgoing.head(inside, host, limits)
    if not given.tip and not wip:
        raise TransferError(f"{inside.path} has no commit", where=habitat, remedy="--wip brings its files")
    branch = branch_names.incoming(habitat, given.branch, name)
    host.check_branch(branch)
    title = f"Uncommitted work in {habitat}" if wip else ""
    with temporary_folder(state) as folder:
        quarantine = Quarantine(folder / "quarantine", host, limits)
        tip = outgoing.receive(inside, host, quarantine, folder, limits, given, title)
        commits = quarantine.count(tip, host.tips())
        quarantine.deliver(tip)
    has_wip = tip != given.tip
    written = host.write_branch(branch, tip, f"{WIP_MARK} {habitat}" if has_wip else f"habitat: fetch from {habitat}")
    return Fetched(written, commits, has_wip, bool(given.boundary))
