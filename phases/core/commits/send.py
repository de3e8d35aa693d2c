"""Brings the commits of this machine into the repositories of a habitat, as refs/remotes/host/BRANCH."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from phases.core import command_form, events
from phases.core.commits import destination, outgoing
from phases.core.commits.host_git import TransferError
from phases.core.commits.host_repository import HostRepository
from phases.core.commits.inside import ContainerRepository, running_container
from phases.core.commits.limits import TransferLimits
from phases.core.commits.merge import known_tips
from phases.core.commits.outgoing import Printed
from phases.core.errors import printable
from phases.core.events.commits import CommitsSent
from phases.core.files.shell_program import ShellProgram
from phases.core.files.temporary_folder import temporary_folder
from phases.core.runtime.own_containers import own_container
from phases.core.work.states import shown

if TYPE_CHECKING:
    from pathlib import Path

    from phases.core.commits.destination import Match
    from phases.core.commits.outgoing import Inside
    from phases.core.engine.types import Container
    from phases.core.project import Project

_RECEIVE = ShellProgram(__file__, "receive.sh")

# Bytes of the answer.
_MOST = 4096


class Sent(Struct, frozen=True):
    """The result of sending a branch.

    Attributes:
        sent: The branch of this machine.
        commits: How many commits the repository in the habitat did not have.
        branch: The branch that is checked out in the habitat, "" for none.
        answer: What became of it: `moved`, `same`, or why it was not moved.
    """

    sent: str
    commits: int
    branch: str
    answer: str


class SendRequest(Struct, frozen=True):
    """The options of a send.

    Attributes:
        folder: The folder that the person is in.
        repository: The path of one repository in the habitat, "" for all.
        source: The repository of this machine, "" for the one that belongs to it.
        branch: The branch to send, "" for the one that is checked out. No name from inside has a say in that.
        forward: Whether a branch without changes in the habitat is moved forward.
        limits: The time that it may take.
    """

    folder: Path
    repository: str = ""
    source: str = ""
    branch: str = ""
    forward: bool = True
    limits: TransferLimits = TransferLimits()


def send(project: Project, name: str, request: SendRequest) -> None:
    """Send a branch of this machine to the repositories of a habitat that runs.

    Raises:
        HabitatError: A repository could not be reached; the others were.
    """
    habitat = project.habitat(name)
    container = own_container(project, name)
    if container is None or not container.running:
        remedy = f"`{command_form.verb('start', name, '--detach')}` starts it"
        raise TransferError("it doesn't run", where=name, remedy=remedy)
    with running_container(project, habitat) as container:
        matches = destination.select(
            project, habitat, container, request.repository, request.source, request.folder, "--from"
        )
        destination.transfer_each(
            project, name, matches, lambda match: _send_one(project, name, container, match, request)
        )


def _send_one(project: Project, name: str, container: Container, match: Match, request: SendRequest) -> None:
    state = match.state
    if match.top is None:
        raise TransferError(match.reason, remedy=f"`{command_form.verb('send', name)} --from FOLDER` names one")
    if state.problem:
        raise TransferError(f"{shown(state.path)} can't be read: {state.problem}")
    inside = ContainerRepository(project.engine, container.id, state.user, state.path)
    sent = send_branch(inside, HostRepository(match.top), project.state_folder(name), request)
    moved = sent.branch if sent.answer == "moved" else ""
    project.bus.emit(CommitsSent(name, state.path, str(match.top), sent.sent, sent.commits, moved))
    for text in _lines(match, sent):
        project.bus.emit(events.Notice(name, text))


def send_branch(inside: Inside, host: HostRepository, state: Path, request: SendRequest) -> Sent:
    """Send a branch of a repository of this machine. state: the folder of the habitat's state. Raises TransferError."""
    limits, name = request.limits, request.branch or host.branch()
    if not name:
        raise TransferError(f"no branch is checked out in {host.top}", remedy="--branch BRANCH names one")
    tip = host.tip(name)
    if not tip or any(char.isspace() for char in name):
        raise TransferError(f"there is no branch {name} in {host.top}", remedy="--branch BRANCH names another")
    given = outgoing.head(inside, host, limits)
    known = known_tips(inside, host, limits)
    revisions = [tip, *(f"^{commit}" for commit in known)]
    commits = host.git.read("rev-list", "--stdin", stdin="\n".join(revisions).encode()).split()
    if host.shallow and set(host.shallow.decode("ascii", "replace").split()) & set(commits):
        raise TransferError(
            f"{host.top} is a shallow clone, and {shown(inside.path)} lacks commits that it doesn't have either",
            remedy="run git fetch --unshallow there",
        )
    args = (inside.path, "yes" if request.forward else "no", name, tip)
    printed = Printed(_MOST)
    with temporary_folder(state) as folder:
        pack = host.pack(folder / "sent.pack", [tip], known)
        with pack.open("rb") as source:
            code = inside.run(_RECEIVE.text, args, source, printed.feed, limits.seconds)
    printed.check(inside.path, code)
    answer = printable(printed.data.decode(errors="replace").strip())
    return Sent(name, len(commits), given.branch, answer)


def _lines(match: Match, sent: Sent) -> list[str]:
    """Return the messages about a sent branch."""
    path, ref = shown(match.state.path), f"host/{sent.sent}"
    if sent.commits:
        count = f"{sent.commits} commit{'' if sent.commits == 1 else 's'}"
        lines = [f"{path}: {count} of {match.top} → {ref} there ({match.reason})"]
    else:
        lines = [f"{path}: nothing new; {ref} there has all of {match.top}"]
    branch = shown(sent.branch) if sent.branch else "HEAD"
    if sent.answer == "moved":
        lines.append(f"branch {branch} there moved forward to it")
    elif sent.answer != "same":
        lines.append(f"branch {branch} there is where it was: {sent.answer}")
    return lines
