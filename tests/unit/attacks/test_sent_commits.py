"""Commits that go into a habitat: what moves there, and that nothing inside decides what is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hostile_inside import LocalInside, commit, contents, git, pair

from phases.core.commits import send
from phases.core.commits.host_repository import HostRepository
from phases.core.commits.send import SendRequest, Sent, send_branch
from phases.core.errors import HabitatError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Sending:
    """A repository of this machine with one more commit, and a clone from before it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.host, self.inside = pair(folder)
        git(self.inside, "reset", "--quiet", "--hard", "HEAD~1")
        self.tip = commit(self.host, "four")

    def send(
        self, lie: Callable[[str, bytes], bytes] = lambda _, data: data, *, branch: str = "", forward: bool = True
    ) -> Sent:
        request = SendRequest(self.host, branch=branch, forward=forward)
        before = contents(self.host)
        try:
            return send_branch(LocalInside(self.inside, lie), HostRepository(self.host), self.folder / "state", request)
        finally:
            assert contents(self.host) == before
            assert list((self.folder / "state").glob("*")) == []


@pytest.fixture
def sending(tmp_path: Path) -> Sending:
    return Sending(tmp_path)


def test_sent_branch_moves_a_clean_branch_of_its_name_forward(sending: Sending) -> None:
    (sending.inside / "untracked").write_text("x")
    assert sending.send() == Sent("main", 1, "main", "moved")
    assert git(sending.inside, "rev-parse", "HEAD", "refs/remotes/host/main").split() == [sending.tip] * 2
    assert (sending.inside / "four").read_text() == "four\n"
    assert git(sending.inside, "status", "--porcelain") == "?? untracked"
    assert sending.send() == Sent("main", 0, "main", "same")


def change_file(inside: Path) -> None:
    (inside / "two").write_text("changed\n")


def stage_file(inside: Path) -> None:
    (inside / "new").write_text("x")
    git(inside, "add", "new")


def begin_merge(inside: Path) -> None:
    (inside / ".git/MERGE_HEAD").write_text(git(inside, "rev-parse", "HEAD~1") + "\n")


WORK: dict[str, tuple[Callable[[Path], object], str]] = {
    "changed": (change_file, "it has changed files"),
    "staged": (stage_file, "it has changed files"),
    "committed": (lambda inside: commit(inside, "own"), "it has commits of its own"),
    "merging": (begin_merge, "something was begun"),
    "detached": (lambda inside: git(inside, "checkout", "--quiet", "--detach"), "no branch is checked out"),
    "other branch": (lambda inside: git(inside, "checkout", "--quiet", "-b", "feature"), "it has another name"),
    "in the way": (lambda inside: (inside / "four").write_text("mine"), "git refuses"),
}


@pytest.mark.guarantee("send-keeps-work")
@pytest.mark.parametrize("kind", WORK)
def test_sent_branch_leaves_work_in_the_habitat_alone(sending: Sending, kind: str) -> None:
    work, reason = WORK[kind]
    work(sending.inside)
    before = contents(sending.inside)
    assert reason in sending.send().answer
    after = contents(sending.inside)
    changed = {path for path in before if after.get(path) != before[path]}
    assert {path for path in changed if not path.startswith(".git/objects")} <= {".git/index", ".git/ORIG_HEAD"}
    assert git(sending.inside, "rev-parse", "refs/remotes/host/main") == sending.tip


def test_sent_branch_moves_nothing_if_the_person_says_so(sending: Sending) -> None:
    assert "--no-forward" in sending.send(forward=False).answer
    assert not (sending.inside / "four").exists()


def test_branch_inside_does_not_choose_what_is_sent(sending: Sending) -> None:
    git(sending.host, "branch", "private")
    git(sending.inside, "checkout", "--quiet", "-b", "private")
    assert sending.send().sent == "main"
    assert sending.send(branch="private").sent == "private"
    assert git(sending.inside, "for-each-ref", "--format=%(refname)", "refs/remotes/host").split() == [
        "refs/remotes/host/main",
        "refs/remotes/host/private",
    ]


def test_programs_inside_do_not_run_and_answers_have_no_control_characters(sending: Sending) -> None:
    for hook in ("post-merge", "post-checkout", "reference-transaction", "pre-merge-commit"):
        path = sending.inside / ".git/hooks" / hook
        path.write_text(f"#!/bin/sh\ntouch {sending.folder}/ran\n")
        path.chmod(0o755)
    sent = sending.send(lambda program, data: b"\x1b]0;x\x07\nmoved" if program == send._RECEIVE.text else data)
    assert not (sending.folder / "ran").exists()
    assert sent.answer.isprintable()


@pytest.mark.parametrize("answer", [b"x" * 10_000, b"\xff\xfe"])
def test_endless_or_broken_answers_are_refused_or_shown(sending: Sending, answer: bytes) -> None:
    def lie(program: str, data: bytes) -> bytes:
        return answer if program == send._RECEIVE.text else data

    if len(answer) > 100:
        with pytest.raises(HabitatError, match="prints too much"):
            sending.send(lie)
    else:
        assert sending.send(lie).answer.isprintable()


def test_commits_that_git_inside_claims_to_have_are_only_those_of_this_machine(sending: Sending) -> None:
    def lie(program: str, data: bytes) -> bytes:
        return data + b"--all\n-x\n" + b"1" * 40 + b"\n" if "for-each-ref --count=1000" in program else data

    assert sending.send(lie).answer == "moved"


def test_remote_called_host_and_missing_branch_are_refused(sending: Sending) -> None:
    git(sending.inside, "remote", "add", "host", "https://example.org/x")
    with pytest.raises(HabitatError, match="remote of its own"):
        sending.send()
    for branch in ("nothing", "--all", "a b"):
        with pytest.raises(HabitatError, match="there is no branch"):
            sending.send(branch=branch)


def test_shallow_repository_is_sent_only_as_far_as_it_goes(sending: Sending) -> None:
    commit(sending.host, "five")
    shallow = sending.folder / "shallow"
    git(sending.folder, "clone", "--quiet", "--depth", "1", f"file://{sending.host}", str(shallow))
    sending.host = shallow
    with pytest.raises(HabitatError, match="shallow clone"):
        sending.send()
