"""What a fetch does with an honest repository, and with names of branches that attack this machine."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest
from hostile_inside import LocalInside, commit, contents, git, pair

from phases.core.commits.fetch import Fetched, fetch_branch
from phases.core.commits.limits import TransferLimits
from phases.core.errors import HabitatError

if TYPE_CHECKING:
    from pathlib import Path

LIMITS = TransferLimits(size=8 << 20, seconds=20)


def fetch(host: Path, inside: LocalInside, **options: object) -> Fetched:
    return fetch_branch("api", inside, host, host.parent / "state", LIMITS, **options)  # type: ignore[arg-type]


@pytest.fixture
def repositories(tmp_path: Path) -> tuple[Path, Path]:
    return pair(tmp_path)


@pytest.mark.guarantee("incoming-branch")
def test_fetch_writes_branch_and_nothing_else(repositories: tuple[Path, Path]) -> None:
    host, inside = repositories
    (host / "two").write_text("changed here\n")
    (host / ".git/hooks/reference-transaction").write_text(f"#!/bin/sh\ntouch {host}/hook\n")
    (host / ".git/hooks/reference-transaction").chmod(0o755)
    before = contents(host)
    fetched = fetch(host, LocalInside(inside))
    tip = git(inside, "rev-parse", "HEAD")
    assert (fetched.written.branch, fetched.written.new, fetched.commits) == ("habitat/api/main", tip, 1)
    assert git(host, "rev-parse", "habitat/api/main") == tip
    assert git(host, "fsck", "--strict") == ""
    after = contents(host)
    assert {path: after[path] for path in before} == before
    branch = ("refs/heads/habitat", "refs/heads/habitat/api", "refs/heads/habitat/api/main")
    allowed = {f".git/{path}" for name in branch for path in (name, f"logs/{name}")}
    added = [path for path in after if path not in before and path not in allowed]
    assert [path for path in added if not path.startswith(".git/objects/pack/pack-")] == []
    assert list((host.parent / "state").iterdir()) == []


@pytest.mark.guarantee("incoming-branch")
def test_second_fetch_moves_branch_forward_and_keeps_rewritten_history(repositories: tuple[Path, Path]) -> None:
    host, inside = repositories
    first = fetch(host, LocalInside(inside)).written.new
    commit(inside, "four")
    second = fetch(host, LocalInside(inside))
    assert (second.written.old, second.written.kept, second.commits) == (first, "", 1)
    git(inside, "commit", "--quiet", "--amend", "-m", "rewritten")
    third = fetch(host, LocalInside(inside))
    assert third.written.kept.startswith("habitat/api/main@")
    assert git(host, "rev-parse", third.written.kept) == second.written.new
    assert fetch(host, LocalInside(inside)).written.old == third.written.new


@pytest.mark.guarantee("wip-untouched")
def test_uncommitted_work_is_a_commit_on_top_and_leaves_the_repository_as_it_was(
    repositories: tuple[Path, Path],
) -> None:
    host, inside = repositories
    (inside / "two").write_text("changed\n")
    (inside / "new").write_text("new\n")
    (inside / ".gitignore").write_text("ignored\n")
    (inside / "ignored").write_text("x\n")
    git(inside, "add", "two")
    before = contents(inside)
    fetched = fetch(host, LocalInside(inside), wip=True)
    assert contents(inside) == before
    assert fetched.has_wip
    assert git(host, "rev-parse", "habitat/api/main~1") == git(inside, "rev-parse", "HEAD")
    files = git(host, "diff", "--name-only", "habitat/api/main~1", "habitat/api/main").split()
    assert files == [".gitignore", "new", "two"]
    again = fetch(host, LocalInside(inside))
    assert (again.written.kept, again.has_wip, again.written.new) == ("", False, git(inside, "rev-parse", "HEAD"))
    git(inside, "stash", "--include-untracked", "--quiet")
    (inside / "ignored").unlink()
    assert not fetch(host, LocalInside(inside), wip=True).has_wip


def test_branch_that_is_checked_out_or_beside_another_is_refused(repositories: tuple[Path, Path]) -> None:
    host, inside = repositories
    fetch(host, LocalInside(inside))
    git(host, "worktree", "add", "-q", str(host.parent / "tree"), "habitat/api/main")
    commit(inside, "four")
    before = contents(host)
    for name, problem in (("", "is checked out in"), ("main", "is checked out in"), ("Habitat/api", "can't be beside")):
        with pytest.raises(HabitatError, match=problem):
            fetch(host, LocalInside(inside), name=name)
    assert contents(host) == before
    fetch(host.parent / "tree", LocalInside(inside), name="other")
    assert git(host, "rev-parse", "other") == git(inside, "rev-parse", "HEAD")


@pytest.mark.parametrize("bare", [False, True])
def test_sha256_repository_is_fetched_and_of_another_format_refused(tmp_path: Path, bare: bool) -> None:
    host, inside = pair(tmp_path, "--object-format=sha256")
    if bare:
        git(tmp_path, "clone", "--quiet", "--bare", str(host), str(tmp_path / "bare"))
        host = tmp_path / "bare"
    assert fetch(host, LocalInside(inside)).commits == 1
    (tmp_path / "sha1").mkdir()
    git(tmp_path / "sha1", "init", "--quiet")
    with pytest.raises(HabitatError, match="names objects by sha256"):
        fetch(tmp_path / "sha1", LocalInside(inside))


def test_shallow_repository_gets_what_it_has_the_history_for(repositories: tuple[Path, Path]) -> None:
    host, inside = repositories
    shallow = host.parent / "shallow"
    git(host, "clone", "--quiet", "--depth", "1", f"file://{host}", str(shallow))
    assert fetch(shallow, LocalInside(inside)).commits == 1
    git(inside, "checkout", "--quiet", "-b", "old", "HEAD~2")
    commit(inside, "other")
    assert fetch(shallow, LocalInside(inside)).commits == 2  # the first commit came along
    before = contents(shallow)
    commit(host, "four")
    commit(host, "five")
    git(host, "clone", "--quiet", "--depth", "1", f"file://{host}", str(host.parent / "newer"))
    commit(host.parent / "newer", "six")
    with pytest.raises(HabitatError, match="shallow clone"):
        fetch(shallow, LocalInside(host.parent / "newer"), name="x")
    assert contents(shallow) == before


def test_detached_head_and_empty_repository(repositories: tuple[Path, Path]) -> None:
    host, inside = repositories
    git(inside, "checkout", "--quiet", "--detach")
    assert fetch(host, LocalInside(inside)).written.branch == "habitat/api/detached"
    empty = host.parent / "empty"
    empty.mkdir()
    git(empty, "init", "--quiet", "-b", "start")
    with pytest.raises(HabitatError, match="has no commit"):
        fetch(host, LocalInside(empty))
    (empty / "first").write_text("x")
    fetched = fetch(host, LocalInside(empty), wip=True)
    assert (fetched.written.branch, fetched.is_related) == ("habitat/api/start", False)


# Names that attack

NAMES = [
    "-x",
    "--upload-pack=touch /tmp/x",
    "../../x",
    "..",
    "a/../b",
    "refs/heads/..",
    "HEAD",
    "a/HEAD",
    "head",
    "FETCH_HEAD",
    ".git",
    "a/.git/config",
    ".hidden",
    "a//b",
    "/a",
    "a/",
    "a.lock",
    "a.LOCK",
    "a.lock/b",
    "a.",
    "@",
    "@{-1}",
    "a@{1}",
    "a b",
    "a\nb",
    "a\r",
    "a\x1b[31mred",
    "a\x07",
    "a\x7f",
    "a\u202eb",
    "a\u200bb",
    "e\u0301",
    "a\\b",
    "a:b",
    "+a",
    "^a",
    "a~1",
    "a?",
    "a*",
    "a[b]",
    "$(touch x)",
    "`touch x`",
    "a;b",
    "a|b",
    "a&b",
    "a'b",
    'a"b',
    "a<b",
    "a%00b",
    "!a",
    "x" * 500,
    "/".join("abcdefghijkl"),
    "a\udcff",
]


@pytest.mark.guarantee("incoming-names")
@pytest.mark.parametrize("name", NAMES)
def test_branch_with_hostile_name_writes_nothing(repositories: tuple[Path, Path], name: str) -> None:
    host, inside = repositories
    before = contents(host)

    def lie(_: str, data: bytes) -> bytes:
        return data.replace(b"branch main\0", b"branch " + name.encode(errors="surrogateescape") + b"\0")

    with pytest.raises(HabitatError) as error:
        fetch(host, LocalInside(inside, lie))
    assert str(error.value).isprintable()
    assert contents(host) == before
    with pytest.raises(HabitatError):
        fetch(host, LocalInside(inside), name=name)
    assert contents(host) == before


@pytest.mark.parametrize("name", ["fix/log-in", "v1.2", "issue_#12", "ümlaut/日本", "dependabot/npm+yarn@3"])
def test_branch_with_usual_name_keeps_it(repositories: tuple[Path, Path], name: str) -> None:
    host, inside = repositories
    git(inside, "checkout", "--quiet", "-b", name)
    assert fetch(host, LocalInside(inside)).written.branch == f"habitat/api/{name}"
    assert git(host, "rev-parse", f"habitat/api/{name}") == git(inside, "rev-parse", "HEAD")


def test_moved_host_branch_lets_nothing_be_written(repositories: tuple[Path, Path]) -> None:
    from phases.core.commits.host_repository import HostRepository

    host, _ = repositories
    repository = HostRepository(host)
    old, new = git(host, "rev-parse", "main~1"), git(host, "rev-parse", "main")
    write = partial(repository.write_branch, "x", new, "test")
    with pytest.raises(HabitatError, match="main"):
        write(unmoved=("main", old))
    assert repository.tip("x") == ""
    assert write(unmoved=("main", new)).new == new
