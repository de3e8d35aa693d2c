"""Lets the repositories of a workspace follow those of the image, where nobody has worked in them. Git decides.

Git runs in temporary containers without a network, as the owner of a repository (see `phases.core.work.git`). What it
prints is data.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from phases.core import events
from phases.core.errors import printable
from phases.core.files.shell_program import ShellProgram
from phases.core.runtime.workspace import record
from phases.core.runtime.workspace.record import Drift
from phases.core.work import git
from phases.core.work.states import shown

if TYPE_CHECKING:
    from phases.core.engine.types import Container
    from phases.core.model import Habitat
    from phases.core.project import Project
    from phases.core.runtime.workspace.record import WorkspaceRecord
    from phases.core.runtime.workspace.trees import WorkspaceTree

_FOLLOW = ShellProgram(__file__, "follow_repository.sh")

# Prints the commit and the branch of a repository.
_HEAD = """
enter_repository "$1" || exit 1
echo "$(safe_git rev-parse --verify --quiet HEAD) $(safe_git symbolic-ref --quiet --short HEAD)"
"""

# Seconds for a repository: its new objects are copied.
_SECONDS = 300


class CloneFollower:
    """Lets the repositories of one workspace follow.

    Args:
        project: The project.
        habitat: The habitat.
        known: The record, which gets what is found out.
        new: The id of a running container of the new image.
        old: The id of one of the image before, "" if that is gone.
    """

    def __init__(self, project: Project, habitat: Habitat, known: WorkspaceRecord, new: str, old: str) -> None:
        self._project, self._habitat, self._known = project, habitat, known
        self._new, self._old = new, old

    def follow(self, resolved: str, folder: str, trees: tuple[WorkspaceTree, WorkspaceTree, WorkspaceTree]) -> None:
        """Let each repository follow that both the image and the workspace have, and say so.

        Args:
            resolved: The workspace's path in the containers, where the images have their own files.
            folder: Where the container of the new image has the workspace.
            trees: The trees of the image before, of the new one and of the workspace.
        """
        base, image, workspace = trees
        for path in sorted({*image.repositories} & {*workspace.repositories}):
            place = resolved + path[1:]
            before = self._known.clones.get(place)
            if before is None and path in base.repositories:
                before = self._head(place, str(base.repositories[path].uid))
            self._follow(place, folder + path[1:], str(workspace.repositories[path].uid), before or ["", ""])
        for path in sorted({*base.repositories} & {*workspace.repositories} - {*image.repositories}):
            text = f"{shown(resolved + path[1:])} is no longer in the image: its repository stays in the workspace"
            self._project.bus.emit(events.Notice(self._habitat.name, text))

    def _head(self, place: str, user: str) -> list[str] | None:
        words = self._run(self._old, _HEAD, (place,), user)
        return [words[0], " ".join(words[1:])] if words else None

    def _run(self, container: str, script: str, arguments: tuple[str, ...], user: str) -> list[str]:
        command = git.script_argv(script, arguments)
        output = git.run(self._project.engine, container, command, user, seconds=_SECONDS)
        return output.out.decode(errors="replace").strip().split("\n")[-1].split(" ") if output.code == 0 else []

    def _follow(self, place: str, in_workspace: str, user: str, before: list[str]) -> None:
        words = self._run(self._new, _FOLLOW.text, (place, in_workspace, *before), user)
        if len(words) < 4 or words[0] not in ("same", "followed", "behind"):
            words = ["behind", "-", "-", "-", "git can't compare it"]
        word, head, branch, now = (text.replace("-", "", 1) if text == "-" else text for text in words[:4])
        if word == "behind":
            self._known.drift[place] = Drift(user, head, branch, _drift_text(place, head, branch, now, words[4:]))
            if any(before):
                self._known.clones[place] = before
            return  # the start says so, once the container runs
        self._known.drift.pop(place, None)
        if head:
            self._known.clones[place] = [head, branch]
        if word == "followed":
            text = f"{shown(place)} follows the new image: {_position(head, branch)}{self._setup(place)}"
            self._project.bus.emit(events.Notice(self._habitat.name, text))

    def _setup(self, place: str) -> str:
        """Return that a repository's setup has not run in the workspace, if it has one."""
        has_setup = any(repo.setup and place.endswith(repo.path.lstrip("~")) for repo in self._habitat.repos)
        return "; its setup has run in the image, and not in the workspace: run it there if it matters" * has_setup


def _position(head: str, branch: str) -> str:
    return f"{shown(branch)} at {shown(head[:9])}" if branch else f"commit {shown(head[:9])}"


def _drift_text(place: str, head: str, branch: str, now: str, reason: list[str]) -> str:
    """Return the message about a repository that doesn't follow, with the command that does."""
    if not head:
        return f"{shown(place)} is not compared with the image's: {printable(' '.join(reason))}"
    command = f"switch {shown(branch)}" if branch else f"checkout {shown(head)}"
    if branch and branch == now:
        command = f"merge origin/{shown(branch)}"
    at, since = f"on {shown(now)}" if now else "at its commit", printable(" ".join(reason))
    return (
        f"{shown(place)} stays {at}, since {since}; the image has {_position(head, branch)}: "
        f"`git -C {shown(place)} {command}` there follows it"
    )


def remind(project: Project, habitat: Habitat, container: Container) -> None:
    """Say which repositories of a running container still don't follow the image."""
    folder = project.state_folder(habitat.name)
    known = record.read(folder)
    for place, drift in list(known.drift.items()):
        if _has(project, container, place, drift):
            del known.drift[place]
            known.clones[place] = [drift.head, drift.branch]
        else:
            project.bus.emit(events.Notice(habitat.name, drift.text, warning=True))
    record.write(folder, known)


def _has(project: Project, container: Container, place: str, drift: Drift) -> bool:
    """Return whether a repository has the image's commit by now, or is gone."""
    script = '\nenter_repository "$1" || exit 3\nsafe_git merge-base --is-ancestor "$2" HEAD 2>/dev/null || exit 1\n'
    script += 'echo "$(safe_git symbolic-ref --quiet --short HEAD)"\n'
    command = git.script_argv(script, (place, drift.head))
    output = git.run(project.engine, container.id, command, drift.user)
    return output.code == 0 and output.out.decode(errors="replace").strip() == drift.branch
