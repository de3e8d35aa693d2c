"""Takes the commits of a habitat: merges them with a branch of this machine, checks the result, and only then writes.

All of it happens in temporary containers. What this machine gets is the result, as `fetch` gets
commits. It is written only if the checks have passed and the branch of this machine has not moved meanwhile.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from phases.core import events
from phases.core.commits import branch_names, destination, image_repository, outgoing, trial
from phases.core.commits.host_git import TransferError
from phases.core.commits.host_repository import MERGE_MARK, HostRepository
from phases.core.commits.inside import ContainerRepository, running_container
from phases.core.commits.limits import TransferLimits
from phases.core.commits.merge import Sides, merge
from phases.core.commits.quarantine import Quarantine
from phases.core.events.commits import BranchWritten
from phases.core.files.temporary_folder import temporary_folder
from phases.core.work.states import shown

if TYPE_CHECKING:
    from pathlib import Path

    from phases.core.build.builder import Builder
    from phases.core.commits.destination import Match
    from phases.core.model import Habitat
    from phases.core.project import Project


class TakeRequest(Struct, frozen=True):
    """The options of a take.

    Attributes:
        folder: The folder that the person is in.
        repository: The path of the repository in the habitat, "" for the only one.
        into: The repository of this machine, "" for the one that belongs to it.
        branch: The branch to write, "" for habitat/NAME/BRANCH.
        onto: The branch to merge with, "" for the one that is checked out.
        limits: What may come in.
    """

    folder: Path
    repository: str = ""
    into: str = ""
    branch: str = ""
    onto: str = ""
    limits: TransferLimits = TransferLimits()


def take(project: Project, name: str, builder: Builder, request: TakeRequest) -> None:
    """Take the branch that is checked out in a repository of a habitat, whose phases before test are up to date.

    Raises:
        HabitatError: A check failed, files conflict, or something was refused. This machine is as it was.
    """
    habitat = project.habitat(name)
    with temporary_folder(project.state_folder(name)) as folder:
        with running_container(project, habitat) as container:
            match = _one(
                habitat,
                destination.select(project, habitat, container, request.repository, request.into, request.folder),
            )
            assert match.top
            inside = ContainerRepository(project.engine, container.id, match.state.user, match.state.path)
            host = HostRepository(match.top)
            onto = _onto(host, request.onto)
            given = outgoing.head(inside, host, request.limits)
            if not given.tip:
                raise TransferError(f"{inside.path} has no commit", where=name)
            branch = branch_names.incoming(name, given.branch, request.branch)
            host.check_branch(branch)
            quarantine = Quarantine(folder / "quarantine", host, request.limits)
            tip = outgoing.receive(inside, host, quarantine, folder, request.limits, given)
        into = host.tip(onto)
        sides = Sides(onto, into, tip)
        count = quarantine.count(tip, [into])
        if not count:
            text = f"{shown(match.state.path)}: nothing to take; branch {onto} in {host.top} has all commits"
            project.bus.emit(events.Notice(name, text))
            return
        repository = image_repository.repository(project, habitat, match)
        result, known = merge(project, habitat, repository, host, quarantine, folder, sides, request.limits)
        pack = quarantine.pack(folder / "trial.pack", [result], known)
        trial.run(project, builder, habitat, repository, pack, sides, result)
        quarantine.deliver(result)
    reason = f"{MERGE_MARK} {name}" if result != tip else f"habitat: take from {name}"
    written = host.write_branch(branch, result, reason, (onto, into))
    project.bus.emit(
        BranchWritten(
            name, match.state.path, str(host.top), branch, result, count, written.old, written.kept, verified=True
        )
    )
    for text in _lines(habitat, match, sides, result, count, branch, written.kept):
        project.bus.emit(events.Notice(name, text))


def _one(habitat: Habitat, matches: list[Match]) -> Match:
    """Return the only repository. Raises TransferError if there are several, or none of this machine belongs to it."""
    if len(matches) > 1:
        paths = ", ".join(shown(match.state.path) for match in matches)
        raise TransferError(f"it has several repositories: {paths}", where=habitat.name, remedy="add --repo PATH")
    (match,) = matches
    if match.top is None:
        raise TransferError(match.reason, where=habitat.name, remedy="--into FOLDER names one")
    if match.state.problem:
        raise TransferError(f"{shown(match.state.path)} can't be read: {match.state.problem}", where=habitat.name)
    return match


def _onto(host: HostRepository, wanted: str) -> str:
    branch = wanted or host.branch()
    if not branch:
        raise TransferError(f"no branch is checked out in {host.top}", remedy="--onto BRANCH names one")
    if not host.tip(branch):
        raise TransferError(f"there is no branch {branch} in {host.top}", remedy="--onto BRANCH names another")
    return branch


def _lines(habitat: Habitat, match: Match, sides: Sides, result: str, count: int, branch: str, kept: str) -> list[str]:
    """Return the messages about taken commits."""
    commits = f"{count} commit{'s' if count > 1 else ''}"
    way = "merged with" if result != sides.tip else "on top of"
    checks = trial.describe(habitat)
    path, top = shown(match.state.path), match.top
    lines = [f"{path}: {commits} {way} {sides.onto}, {checks} → branch {branch} in {top} ({match.reason})"]
    if kept:
        lines.append(f"the history was rewritten: {kept} keeps the old one")
    lines.append(f"`git -C {top} merge --ff-only {branch}` brings them into {sides.onto}")
    if not habitat.tests and not habitat.take_check:
        lines.append("nothing was run to check them: list tests: or take.check: in the config")
    return lines
