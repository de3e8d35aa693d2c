"""The program that lets a clone in a workspace follow the image's, in real repositories."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest
from test_repositories import run_git

from phases.core.runtime.workspace import clones, record
from phases.core.runtime.workspace.record import Drift
from phases.core.work import git

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.guarantee("workspace-repository-followed-only-without-work")


class Clones:
    """A repository with the branches main and dev, a workspace with a clone of an earlier commit, and newer clones."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.server = root / "server"
        self.server.mkdir()
        run_git(self.server, "init", "--quiet", "--initial-branch=main")
        self.commit(self.server, "file", "1")
        run_git(root, "clone", "--quiet", "server", "workspace")
        self.workspace = root / "workspace"
        self.base = self.head(self.workspace)
        self.commit(self.server, "file", "2")
        run_git(self.server, "branch", "dev")

    @staticmethod
    def commit(folder: Path, file: str, content: str) -> None:
        (folder / file).write_text(content)
        run_git(folder, "add", "--all")
        run_git(folder, "commit", "--quiet", "--message", content)

    @staticmethod
    def head(folder: Path) -> str:
        return subprocess.check_output(("git", "-C", folder, "rev-parse", "HEAD"), text=True).strip()

    @staticmethod
    def branch(folder: Path) -> str:
        return subprocess.check_output(("git", "-C", folder, "branch", "--show-current"), text=True).strip()

    def image(self, *options: str) -> Path:
        run_git(self.root, "clone", "--quiet", *options, f"file://{self.server}", "image")
        return self.root / "image"

    def follow(self, *, base: bool = True, branch: str = "main") -> list[str]:
        """What the program prints: a word, and the reason."""
        before = (self.base, branch) if base else ("", "")
        command = git.script_argv(clones._FOLLOW.text, (str(self.root / "image"), str(self.workspace), *before))
        printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        word, _, _, _, *reason = printed.strip().split(" ")
        return [word, " ".join(reason)]


@pytest.fixture
def repositories(tmp_path: Path) -> Clones:
    return Clones(tmp_path)


@pytest.mark.parametrize("options", [(), ("--branch=dev",), ("--depth=1",)])
@pytest.mark.parametrize("base", [True, False], ids=["base known", "base unknown"])
def test_clone_without_work_follows(repositories: Clones, options: tuple[str, ...], base: bool) -> None:
    image = repositories.image(*options)
    if base or not options:
        expected = ["behind", "it has all commits, the image's clone only some"] if "--depth=1" in options else []
        assert repositories.follow(base=base) == (expected or ["followed", ""])
        if not expected:
            assert repositories.head(repositories.workspace) == repositories.head(image)
            assert repositories.branch(repositories.workspace) == repositories.branch(image)
            assert (repositories.workspace / "file").read_text() == "2"
            assert repositories.follow(base=base)[0] == "same"
    elif options == ("--branch=dev",):
        assert repositories.follow(base=base) == ["behind", "main is checked out there"]


def test_shallow_clone_follows_shallow_clone(repositories: Clones) -> None:
    run_git(repositories.root, "clone", "--quiet", "--depth=1", f"file://{repositories.server}", "shallow")
    repositories.workspace = repositories.root / "shallow"
    repositories.base = repositories.head(repositories.workspace)
    repositories.commit(repositories.server, "file", "3")
    image = repositories.image("--depth=1")
    assert repositories.follow() == ["followed", ""]
    assert repositories.head(repositories.workspace) == repositories.head(image)
    run_git(repositories.workspace, "fsck")


def test_clone_follows_commit_without_branch(repositories: Clones) -> None:
    image = repositories.image()
    run_git(image, "checkout", "--quiet", "--detach")
    assert repositories.follow() == ["followed", ""]
    assert (repositories.branch(repositories.workspace), repositories.head(repositories.workspace)) == (
        "",
        repositories.head(image),
    )


WORK = {
    "changed file": ("it has changed files", ["sh", "-c", "echo mine >file"]),
    "new file": ("it has changed files", ["touch", "new"]),
    "stash": ("it has a stash", ["sh", "-c", "echo mine >file; git stash --quiet"]),
    "commit": ("it has commits of its own", ["sh", "-c", "echo mine >file; git commit --quiet --all --message=mine"]),
    "commit on another branch": (
        "it has commits of its own",
        ["sh", "-c", "git switch -qc x; echo mine >file; git commit -qam mine; git switch -q main"],
    ),
    "another branch": ("mine is checked out there", ["git", "switch", "--quiet", "--create", "mine"]),
    "begun merge": ("something was begun in it", ["touch", ".git/MERGE_HEAD"]),
}


@pytest.mark.parametrize("work", WORK)
@pytest.mark.parametrize("options", [(), ("--branch=dev",)])
def test_clone_with_work_stays_and_can_follow_without_network(
    repositories: Clones, work: str, options: tuple[str, ...]
) -> None:
    reason, command = WORK[work]
    image = repositories.image(*options)
    identity = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a"}
    subprocess.run(command, cwd=repositories.workspace, env={"PATH": "/usr/bin:/bin", **identity}, check=True)
    files = {path.name: path.read_text() for path in repositories.workspace.iterdir() if path.is_file()}
    before = (repositories.head(repositories.workspace), repositories.branch(repositories.workspace))
    assert repositories.follow() == ["behind", reason]
    assert (repositories.head(repositories.workspace), repositories.branch(repositories.workspace)) == before
    assert {path.name: path.read_text() for path in repositories.workspace.iterdir() if path.is_file()} == files
    branch = repositories.branch(image)
    has = subprocess.check_output(
        ("git", "-C", repositories.workspace, "rev-parse", f"refs/remotes/origin/{branch}"), text=True
    )
    assert has.strip() == repositories.head(image)


def test_image_as_before_leaves_clone_of_other_branch_alone(repositories: Clones) -> None:
    image = repositories.image()
    repositories.base = repositories.head(image)
    run_git(repositories.workspace, "switch", "--quiet", "--create", "mine")
    assert repositories.follow() == ["same", ""]


def test_clone_runs_no_program_that_its_config_names(repositories: Clones) -> None:
    repositories.image()
    hooks = repositories.workspace / ".git/hooks"
    for name in ("post-checkout", "reference-transaction", "post-index-change"):
        (hooks / name).write_text(f"#!/bin/sh\ntouch {repositories.root}/ran\n")
        (hooks / name).chmod(0o755)
    for key in ("core.fsmonitor", "filter.x.smudge", "filter.x.clean", "core.alternateRefsCommand"):
        run_git(repositories.workspace, "config", key, f"touch {repositories.root}/ran")
    (repositories.workspace / ".git/info/attributes").write_text("* filter=x\n")
    assert repositories.follow()[0] in ("followed", "behind")
    assert not (repositories.root / "ran").exists()


def test_drift_text_names_command_and_quotes_odd_branches() -> None:
    text = clones._drift_text("/workspace/p", "0123456789", "dev", "main", ["it", "has", "a", "stash"])
    assert text == (
        "/workspace/p stays on main, since it has a stash; the image has dev at 012345678: "
        "`git -C /workspace/p switch dev` there follows it"
    )
    assert "`git -C /workspace/p merge origin/main`" in clones._drift_text("/workspace/p", "0", "main", "main", [])
    assert '"x;$(y)"' in clones._drift_text("/workspace/p", "0", "x;$(y)", "main", [])


def test_record_of_other_form_counts_as_none(tmp_path: Path) -> None:
    known = record.WorkspaceRecord({"v": "image"}, {"/p": ["1", "main"]}, {"/q": Drift("1000", "1", "main", "text")})
    record.write(tmp_path, known)
    assert record.read(tmp_path) == known
    for text in ("", "{", "[]", '{"images": 1}', '{"drift": {"/q": 1}}'):
        (tmp_path / record.RECORD).write_text(text)
        assert record.read(tmp_path) == record.WorkspaceRecord()
