"""What `doit changes` shows of a repository whose names, commits and config attack the person's terminal."""

from __future__ import annotations

import io
import shutil
from typing import TYPE_CHECKING

import pytest
from hostile_inside import LocalInside, commit, contents, git, pair
from rich.console import Console

from phases.core.commits import changes
from phases.core.commits.changes import RepositoryChanges, parse
from phases.core.work.states import RepositoryState
from phases.ui.changes import patch, table

if TYPE_CHECKING:
    from pathlib import Path

ESCAPES = "\x1b]0;title\x07\x1b[31m"


def read(folder: Path, kind: str = "summary") -> bytes:
    printed: list[bytes] = []
    inside = LocalInside(folder)
    code = inside.run(changes._CHANGES.text, (str(folder), kind), b"", lambda data, _: printed.append(data), 30)
    assert code == 0, printed
    return b"".join(printed)


def summary(folder: Path) -> RepositoryChanges:
    return parse(RepositoryState(str(folder), "agent", branch="main"), read(folder))


@pytest.fixture
def inside(tmp_path: Path) -> Path:
    """A clone with one commit of its own."""
    return pair(tmp_path)[1]


def test_changes_since_the_clone_have_commits_files_and_untracked_files(inside: Path) -> None:
    (inside / "two").write_text("changed\n")
    (inside / "new\nname").write_text("x")
    (inside / "data").write_bytes(b"\0\1")
    git(inside, "add", "data")
    before = contents(inside)
    result = summary(inside)
    assert b"+changed" in read(inside, "patch")
    assert contents(inside) == before
    assert (result.base, result.count) == (git(inside, "rev-parse", "origin/main"), 1)
    assert [(line.subject, line.author) for line in result.commits] == [("three", "a@example.org")]
    files = [(line.path, line.added, line.removed) for line in result.files]
    assert files == [("data", -1, -1), ("three", 1, 0), ("two", 1, 1)]
    assert result.untracked == ("new\nname",)


def test_changes_without_remote_count_from_the_first_commit_of_the_clone(inside: Path) -> None:
    git(inside, "remote", "remove", "origin")
    assert summary(inside).count == 1
    commit(inside, "four")
    assert summary(inside).count == 2
    shutil.rmtree(inside / ".git/logs")
    assert summary(inside).count == 4  # all of them: nobody knows where it began


def test_changes_of_pushed_and_of_empty_repository(inside: Path, tmp_path: Path) -> None:
    git(inside, "update-ref", "refs/remotes/origin/main", "HEAD")
    assert (summary(inside).count, summary(inside).files) == (0, ())
    (tmp_path / "empty").mkdir()
    git(tmp_path / "empty", "init", "--quiet")
    (tmp_path / "empty/new").write_text("x")
    result = summary(tmp_path / "empty")
    assert (result.count, result.base, result.untracked) == (0, "", ("new",))


@pytest.mark.guarantee("changes-only-look")
def test_names_and_lines_reach_no_terminal_as_they_are(inside: Path) -> None:
    git(inside, "config", "user.name", f"author{ESCAPES}")
    (inside / f"file{ESCAPES}").write_text(f"line{ESCAPES}\r\n")
    git(inside, "add", "--all")
    git(inside, "commit", "--quiet", "-m", f"subject{ESCAPES}")
    (inside / f"other{ESCAPES}").write_text("x")
    shown = io.StringIO()
    console = Console(file=shown, width=100)
    for part in table.parts([summary(inside)], wrap=False):
        console.print(part)
    with patch.Pager(shown) as pager:
        pager.write("/work", read(inside, "patch").decode().splitlines())
    assert "subject\\x1b]0;title\\x07" in shown.getvalue()
    assert "+line\\x1b]0;title\\x07\\x1b[31m" in shown.getvalue()
    assert [char for char in shown.getvalue() if not char.isprintable() and char != "\n"] == []


@pytest.mark.guarantee("changes-only-look")
def test_programs_of_the_repository_do_not_run(inside: Path, tmp_path: Path) -> None:
    proof = tmp_path / "ran"
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\ntouch {proof}\ncat\n")
    program.chmod(0o755)
    for key in ("core.fsmonitor", "diff.external", "diff.x.textconv", "diff.x.command", "filter.x.clean", "core.pager"):
        git(inside, "config", key, str(program))
    git(inside, "config", "pager.diff", str(program))
    (inside / ".gitattributes").write_text("* diff=x filter=x\n")
    (inside / "two").write_text("changed\n")
    proof.unlink(missing_ok=True)
    read(inside)
    read(inside, "patch")
    assert not proof.exists()


LIES = [
    b"",
    b"\0\0\0",
    b"=base HEAD\0=commits -1\0",
    b"=base x\0=commits 99999999999999999999\0",
    b"c\0d\0?\0",
    b"\xff\xfe\0" * 10,
]


@pytest.mark.parametrize("output", LIES)
def test_lies_of_git_inside_are_no_error(output: bytes) -> None:
    result = parse(RepositoryState("/work", "agent"), output)
    assert (result.base, result.count, result.commits, result.files) == ("", 0, (), ())
    assert list(table.parts([result], wrap=False))
