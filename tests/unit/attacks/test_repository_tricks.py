"""Configs, hooks, links and files of git with which a repository in a habitat attacks who reads it."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from hostile_inside import LocalInside, commit, contents, git, pair

from phases.core.commits.fetch import Fetched, fetch_branch
from phases.core.commits.limits import TransferLimits
from phases.core.errors import HabitatError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LIMITS = TransferLimits(size=8 << 20, seconds=20)


def fetch(host: Path, inside: Path, *, wip: bool = False) -> Fetched:
    return fetch_branch("api", LocalInside(inside), host, host.parent / "state", LIMITS, wip=wip)


@pytest.fixture
def repositories(tmp_path: Path) -> tuple[Path, Path]:
    return pair(tmp_path)


def program(folder: Path) -> tuple[str, Path]:
    """Return the path of a program, and the file that shows that it was run."""
    path, proof = folder / "program", folder / "ran"
    path.write_text(f"#!/bin/sh\ntouch {proof}\ncat\n")
    path.chmod(0o755)
    return str(path), proof


KEYS = [
    "core.fsmonitor",
    "core.sshCommand",
    "core.pager",
    "core.editor",
    "core.askPass",
    "core.gitProxy",
    "core.alternateRefsCommand",
    "uploadpack.packObjectsHook",
    "gpg.program",
    "credential.helper",
    "diff.external",
    "filter.x.clean",
    "filter.x.smudge",
    "filter.x.process",
    "diff.x.textconv",
    "merge.x.driver",
    "alias.rev-list",
    "alias.pack-objects",
    "trailer.x.command",
    "sequence.editor",
    "submodule.x.update",
    "remote.origin.uploadpack",
    "remote.origin.vcs",
    "gc.recentObjectsHook",
]


@pytest.mark.guarantee("incoming-branch")
@pytest.mark.parametrize("key", KEYS)
def test_program_of_the_config_inside_runs_nowhere(repositories: tuple[Path, Path], tmp_path: Path, key: str) -> None:
    host, inside = repositories
    path, proof = program(tmp_path)
    git(inside, "config", key, f"!{path}" if key.startswith(("alias", "submodule")) else path)
    (inside / ".gitattributes").write_text("* filter=x diff=x merge=x\n")
    (inside / "two").write_text("changed\n")
    proof.unlink(missing_ok=True)
    fetch(host, inside, wip=True)
    assert not proof.exists()


HOOKS = ["reference-transaction", "post-update", "pre-auto-gc", "post-index-change", "pre-commit", "fsmonitor-watchman"]


@pytest.mark.guarantee("incoming-branch")
@pytest.mark.parametrize("side", [0, 1], ids=["host", "inside"])
@pytest.mark.parametrize("hook", HOOKS)
def test_hook_runs_on_no_side(repositories: tuple[Path, Path], tmp_path: Path, hook: str, side: int) -> None:
    path, proof = program(tmp_path)
    shutil.copy(path, repositories[side] / ".git/hooks" / hook)
    (repositories[1] / "new").write_text("x")
    fetch(*repositories, wip=True)
    assert not proof.exists()


@pytest.mark.parametrize(
    "key", ["core.fsmonitor", "core.alternateRefsCommand", "uploadpack.packObjectsHook", "gpg.program"]
)
def test_program_of_the_config_of_this_machine_does_not_run(
    repositories: tuple[Path, Path], tmp_path: Path, key: str
) -> None:
    host, inside = repositories
    path, proof = program(tmp_path)
    git(host, "config", key, path)
    git(host, "config", "log.showSignature", "true")
    fetch(host, inside, wip=True)
    (inside / "new").write_text("x")
    fetch(host, inside, wip=True)
    assert not proof.exists()


def replace_parent(inside: Path) -> None:
    git(inside, "replace", "HEAD~1", git(inside, "commit-tree", "-m", "forged", "HEAD~1^{tree}"))


def graft(inside: Path) -> None:
    (inside / ".git/info/grafts").write_text(git(inside, "rev-parse", "HEAD") + "\n")


def add_alternates(inside: Path) -> None:
    """Name the objects of another repository, which this machine must not get for the asking."""
    secret = inside.parent / "secret"
    secret.mkdir()
    git(secret, "init", "--quiet", "-b", "main")
    commit(secret, "secret")
    (inside / ".git/objects/info/alternates").write_text(f"{secret}/.git/objects\n")


def promise(inside: Path) -> None:
    git(inside, "config", "extensions.partialClone", "evil")
    git(inside, "config", "core.repositoryFormatVersion", "1")
    git(inside, "config", "remote.evil.url", "ext::sh -c 'touch ran'")
    git(inside, "config", "remote.evil.promisor", "true")


def many_refs(inside: Path) -> None:
    head = git(inside, "rev-parse", "HEAD")
    rows = "".join(f"{head} refs/heads/many/{number}\n" for number in range(20_000))
    (inside / ".git/packed-refs").write_text(f"# pack-refs with: peeled fully-peeled sorted\n{rows}")


def odd_refs(inside: Path) -> None:
    head = git(inside, "rev-parse", "HEAD")
    for name in ("heads/HEAD", "heads/-x", "tags/main", "remotes/origin/-u"):
        path = inside / ".git/refs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{head}\n")


TRICKS: dict[str, Callable[[Path], None]] = {
    "replace refs": replace_parent,
    "grafts": graft,
    "alternates": add_alternates,
    "promisor": promise,
    "20,000 refs": many_refs,
    "refs like options": odd_refs,
}


@pytest.mark.guarantee("incoming-objects")
@pytest.mark.parametrize("trick", TRICKS)
def test_trick_with_files_of_git_brings_only_what_the_commit_has(repositories: tuple[Path, Path], trick: str) -> None:
    host, inside = repositories
    tip = git(inside, "rev-parse", "HEAD")
    TRICKS[trick](inside)
    fetched = fetch(host, inside)
    assert (fetched.written.new, fetched.commits) == (tip, 1)
    assert git(host, "rev-parse", "habitat/api/main~1") == git(host, "rev-parse", "main")
    assert git(host, "for-each-ref", "--format=%(refname)").split() == [
        "refs/heads/habitat/api/main",
        "refs/heads/main",
    ]
    assert git(host, "fsck", "--strict") == ""
    assert not (inside / "ran").exists()


LINKS = ["index", "HEAD", "config", "objects", "refs", "packed-refs", "shallow"]


@pytest.mark.parametrize("name", LINKS)
def test_link_among_the_files_of_git_inside_writes_nothing_outside(repositories: tuple[Path, Path], name: str) -> None:
    host, inside = repositories
    target = inside.parent / "target"
    source = inside / ".git" / name
    if source.exists():
        source.rename(target)
    else:
        target.write_text("")
    source.symlink_to(target)
    (inside / "new").write_text("x")
    before = contents(target) if target.is_dir() else target.read_bytes()
    state = contents(host)
    try:
        fetch(host, inside, wip=True)
    except HabitatError:
        assert contents(host) == state
    assert (contents(target) if target.is_dir() else target.read_bytes()) == before


@pytest.mark.parametrize("name", ["link", "fifo", "nested", "unreadable"])
def test_odd_files_of_the_work_tree_come_as_they_are_or_are_refused(repositories: tuple[Path, Path], name: str) -> None:
    host, inside = repositories
    path = inside / "odd"
    if name == "link":
        path.symlink_to("/etc/passwd")
    elif name == "fifo":
        os.mkfifo(path)
    elif name == "nested":
        subprocess.run(["git", "clone", "-q", str(host), str(path)], check=True)
    else:
        path.mkdir(mode=0)
    fetched = fetch(host, inside, wip=True)
    kinds = {row.split()[3]: row.split()[0] for row in git(host, "ls-tree", fetched.written.new).split("\n")}
    assert kinds.get("odd") == {"link": "120000", "nested": "160000"}.get(name)
    path.chmod(0o700) if name == "unreadable" else None


@pytest.mark.parametrize(
    "variable", ["GIT_DIR", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_WORK_TREE", "GIT_NAMESPACE"]
)
def test_variables_of_the_person_for_git_change_nothing(
    repositories: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    host, inside = repositories
    monkeypatch.setenv(variable, str(host.parent / "elsewhere"))
    assert fetch(host, inside).commits == 1
    assert not (host.parent / "elsewhere").exists()
    monkeypatch.delenv(variable)
    assert git(host, "rev-parse", "habitat/api/main") == git(inside, "rev-parse", "HEAD")
