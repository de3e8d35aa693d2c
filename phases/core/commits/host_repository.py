"""A git repository of this machine that gets commits of a habitat: what it has, and how one branch of it is written."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from phases.core.commits.host_git import HostGit, TransferError, pack
from phases.core.errors import printable

if TYPE_CHECKING:
    from collections.abc import Iterable

_HEADS = "refs/heads/"

# The person's config may let `git log` run gpg, or show more.
_PLAIN_LOG = ("--no-show-signature", "--no-patch", "--no-mailmap", "--no-color", "--no-decorate", "--no-notes")

#: What the reflog of this machine says of a branch whose last commit is of `--wip`. Nobody inside writes it.
WIP_MARK = "habitat: uncommitted work of"

#: The same for a commit by which `take` has merged. The commits themselves are in the next merge, too.
MERGE_MARK = "habitat: merge of"


class Written(Struct, frozen=True):
    """A branch that was written.

    Attributes:
        branch: The branch.
        old: The commit that it was at, "" if it is new.
        new: The commit that it is at.
        kept: The branch that keeps the old commit, if that is not in the history of the new one.
    """

    branch: str
    old: str
    new: str
    kept: str = ""


class HostRepository:
    """A repository of this machine.

    Attributes:
        top: The folder that it was opened by.
        git: git in it.
        objects: The folder of its objects, also for a linked work tree.
        object_format: sha1 or sha256.
        shallow: The content of its file of shallow commits, b"" for a repository with a whole history.

    Raises:
        TransferError: It is none, or one that lacks objects.
    """

    def __init__(self, top: Path) -> None:
        self.top = top
        self.git = HostGit(top)
        words = ("--path-format=absolute", "--git-path", "objects", "--git-path", "shallow", "--git-path", "config")
        try:
            objects, shallow, _ = self.git.read("rev-parse", *words).split("\n")
        except ValueError as error:
            raise TransferError(f"{top}: a path with a newline can't be used", remedy="move the repository") from error
        self.objects = Path(objects)
        self.object_format = self.git.read("rev-parse", "--show-object-format") or "sha1"
        self.shallow = Path(shallow).read_bytes() if Path(shallow).is_file() else b""
        if self.git.succeeds("config", "--get-regexp", r"^(extensions\.partialclone|remote\..*\.promisor)$"):
            raise TransferError(
                f"{top} is a partial clone, which lacks objects that its branches have",
                remedy="use a whole clone: --into PATH",
            )

    # What it has

    def tips(self) -> list[str]:
        """Return the commits and tags that its refs are at."""
        return self.git.read("for-each-ref", "--format=%(objectname)").split()

    def tip(self, branch: str) -> str:
        """Return the commit that a branch is at, "" if there is no such branch."""
        return self.git.read("for-each-ref", "--format=%(objectname)", "--", f"{_HEADS}{branch}")

    def branch(self) -> str:
        """Return the branch that is checked out, "" for none."""
        ref = self.git.read("rev-parse", "--symbolic-full-name", "HEAD") if self.tips() else ""
        return ref.removeprefix(_HEADS) if ref.startswith(_HEADS) else ""

    def known(self, commits: Iterable[str]) -> set[str]:
        """Return those of some commits that it has."""
        rows = self.git.read("cat-file", "--batch-check", stdin="".join(f"{commit}\n" for commit in commits).encode())
        return {words[0] for row in rows.split("\n") if (words := row.split())[1:2] == ["commit"]}

    def is_ancestor(self, commit: str, of: str) -> bool:
        """Return whether a commit is in the history of another; both are in the repository."""
        return self.git.succeeds("merge-base", "--is-ancestor", commit, of)

    def checked_out(self) -> dict[str, str]:
        """Return the branches that are checked out, in any of its work trees, each with the work tree's folder."""
        branches, folder = {}, ""
        for line in self.git.read("worktree", "list", "--porcelain").split("\n"):
            key, _, value = line.partition(" ")
            if key == "worktree":
                folder = value
            elif key == "branch":
                branches[value.removeprefix(_HEADS)] = folder
        return branches

    def author(self) -> tuple[str, str]:
        """Return the name and the e-mail of the person, for a merge."""
        name, mail = (self.git.config(f"^user\\.{key}$")[-1:] for key in ("name", "email"))
        return (*(name or ["habitat"]), *(mail or ["habitat@localhost"]))  # type: ignore[return-value]

    def pack(self, path: Path, tips: Iterable[str], without: Iterable[str]) -> Path:
        """Write a pack of some commits for a repository that has those of `without`. Returns its path."""
        return pack(self.git, path, tips, without)

    # Writing one branch

    def check_branch(self, branch: str) -> None:
        """Check that a branch may be written, before anything is fetched for it. Raises TransferError."""
        self.git.read("check-ref-format", f"{_HEADS}{branch}")
        if folder := self.checked_out().get(branch):
            raise TransferError(
                f"branch {branch} is checked out in {folder}, and so is not moved",
                remedy="--as BRANCH writes another; or check out another branch there",
            )
        parts = branch.casefold().split("/")
        for other in self.git.read("for-each-ref", "--format=%(refname)", _HEADS).split("\n"):
            name = other.removeprefix(_HEADS)
            theirs = name.casefold().split("/")
            shorter = min(len(parts), len(theirs))
            if name not in ("", branch) and theirs[:shorter] == parts[:shorter]:
                raise TransferError(
                    f"branch {branch} can't be beside {printable(name)}", remedy="--as BRANCH writes another"
                )

    def write_branch(self, branch: str, new: str, reason: str, unmoved: tuple[str, str] | None = None) -> Written:
        """Let a branch be at a commit that the repository has, in one transaction of git's.

        An old commit that is not in the history of the new one stays at a branch of its own, unless it is uncommitted
        work that `--wip` brought, or a merge of `take`: those stay in the reflog.

        Args:
            branch: The branch.
            new: The commit.
            reason: What the reflog says.
            unmoved: A branch and its commit: nothing is written if it is somewhere else by now.

        Raises:
            TransferError: git refuses.
        """
        self.check_branch(branch)
        old = self.tip(branch)
        if old == new:
            return Written(branch, old, new)
        ref, none = f"{_HEADS}{branch}", "0" * len(new)
        lines = [f"update {ref}\0{new}\0{old or none}\0"]
        kept = ""
        if old and not self.is_ancestor(old, new) and not self._is_passing(ref):
            kept = self._free(f"{branch}@{time.strftime('%Y%m%d-%H%M%S')}")
            lines.append(f"create {_HEADS}{kept}\0{old}\0")
        if unmoved:
            lines.append(f"verify {_HEADS}{unmoved[0]}\0{unmoved[1]}\0")
        self.git.read("update-ref", "--create-reflog", "-m", reason, "--stdin", "-z", stdin="".join(lines).encode())
        return Written(branch, old, new, kept)

    def _free(self, branch: str) -> str:
        """Return the name of a branch that there isn't, the given one or with a number behind it."""
        names = (branch, *(f"{branch}-{number}" for number in range(2, 100)))
        return next((name for name in names if not self.tip(name)), branch)

    def _is_passing(self, ref: str) -> bool:
        """Return whether the commit that a branch is at was made by `--wip` or by `take`."""
        return self.git.read("log", "-g", "-1", "--format=%gs", *_PLAIN_LOG, ref, "--").startswith(
            (WIP_MARK, MERGE_MARK)
        )
