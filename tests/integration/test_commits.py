"""Commits out of a habitat and into it, on the real engine."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest
from conftest import (
    CommandResult,
    Project,
    RunningDoit,
    clear,
    docker,
    fresh_name,
    left_containers,
    untagged,
    wait_until,
)
from kill_points import ARMED, DODO, MARK
from measurements import MATRIX

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from phases.core.engine.docker_api.client import DockerEngine

pytestmark = pytest.mark.engine

CONFIG = """\
base_image: {image}
env: [USER=agent, WORKDIR=/workspace]
setup:
  root: [git config --system user.name Agent, git config --system user.email agent@example.org]
repos: [{{url: ., path: project}}]
entry: {{command: "true"}}
tests: [tests/t.sh]
take: {{check: ['test ! -e broken']}}
"""


def git(folder: Path, *words: str) -> str:
    command = ["git", "-C", str(folder), "-c", "user.name=me", "-c", "user.email=me@example.org", *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a repository: refs, index, work tree, config, hooks and objects."""
    paths = (path for path in folder.rglob("*") if path.is_file() and not {".stamps", MARK} & {*path.parts})
    return {str(path): path.read_bytes() for path in paths}


class Pair:
    """A repository of this machine, and a running habitat with a clone of it."""

    def __init__(self, project: Project, name: str) -> None:
        self.project = project
        self.top = project.root
        self.name = name
        self.branch = f"habitat/{name}/main"

    def work(self, script: str) -> None:
        """Run a script in the clone, as the agent."""
        docker(
            "exec", "--user", "agent", "--workdir", "/workspace/project", f"habitat-{self.name}", "sh", "-euc", script
        )

    def doit(self, verb: str, *words: str, crash: str = "") -> CommandResult:
        return self.project.doit(f"{verb}:{self.name}", *words, env={**ARMED, "CRASH": crash})

    def done(self, verb: str, *words: str) -> CommandResult:
        result = self.doit(verb, *words)
        assert result.code == 0, result.out
        return result

    def refused(self, *texts: str) -> None:
        """Run `take`, which has to fail with these texts and to leave the repository as it was."""
        before = contents(self.top)
        result = self.doit("take")
        assert result.code == 1, result.out
        assert [text for text in texts if text not in result] == [], result.out
        assert contents(self.top) == before


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, engine: DockerEngine, git_image: str) -> Iterator[Pair]:
    project, name = Project(tmp_path_factory.mktemp("commits")), fresh_name()
    project.write("dodo.py", DODO)
    project.habitat(name, CONFIG.format(image=git_image))
    project.write(
        f"habitats/{name}/tests/t.sh",
        "#!/bin/sh\ngrep wrong project/file && exit 1\ntest ! -e project/slow || sleep 99\n",
        0o755,
    )
    git(project.root, "init", "-q", "-b", "main")
    (project.root / "file").write_text("one\n")
    git(project.root, "add", "file")
    git(project.root, "commit", "-qm", "one")
    pair = Pair(project, name)
    pair.done("start", "--detach")
    yield pair
    clear(engine, name)


@pytest.mark.guarantee("take-checks-first")
def test_take_writes_nothing_before_the_checks_have_passed(pair: Pair) -> None:
    pair.work("echo wrong >>file; git commit -qam wrong")
    pair.refused("test tests/t.sh ended with exit code 1", "take.log", f"doit debug:{pair.name}")
    pair.work("git reset -q --hard HEAD~1; echo theirs >file; git commit -qam theirs")
    pair.work("echo x >broken; git add .; git commit -qm broken")
    pair.refused("check test ! -e broken ended with exit code 1")
    (pair.top / "file").write_text("ours\n")
    git(pair.top, "commit", "-qam", "ours")
    pair.refused("1 file conflicts with branch main", "file", f"doit send:{pair.name}")
    pair.work("git reset -q --hard HEAD~2; echo new >new; git add .; git commit -qm new")
    assert "which passed 1 test and 1 check" in pair.done("take")
    parents = git(pair.top, "show", "-s", "--format=%P", pair.branch).split()
    assert parents[0] == git(pair.top, "rev-parse", "main")
    assert git(pair.top, "log", "-1", "--format=%s", parents[1]) == "new"
    assert git(pair.top, "show", f"{pair.branch}:file") == "ours"
    git(pair.top, "merge", "-q", "--ff-only", pair.branch)
    result = pair.done("send")
    assert "branch main there moved forward to it" in result, result.out
    pair.work(f"test $(git rev-parse HEAD) = {git(pair.top, 'rev-parse', 'main')}; grep ours file; test -e new")


@pytest.mark.guarantee("transfer-killed")
def test_take_killed_in_its_checks_leaves_the_repository_whole_and_the_next_one_goes_on(pair: Pair) -> None:
    pair.work("echo x >slow; git add .; git commit -qm slow")
    log = pair.top / ".stamps" / pair.name / "take.log"
    log.write_text("")
    before = contents(pair.top)
    with RunningDoit(pair.project, f"take:{pair.name}", env=ARMED) as run:
        wait_until(lambda: "$ test tests/t.sh" in log.read_text() or run.process.poll() is not None)
        assert run.process.poll() is None, run.out
        run.process.kill()
    assert contents(pair.top) == before
    pair.work("git rm -q slow; git commit -qm quick")
    assert "2 commits" in pair.done("take")
    assert left_containers(pair.name) == []
    assert (
        docker("ps", "--all", "--format", "{{.Names}} {{.Status}} {{.Command}}", "--filter", f"name=_{pair.name}_")
        == ""
    )
    assert not list((pair.top / ".stamps" / pair.name).glob("passing.*"))
    pair.work("git reset -q --hard HEAD~2")


def test_commits_of_running_and_of_stopped_habitat_come_into_a_branch(pair: Pair) -> None:
    pair.work("echo more >>file; git commit -qam two; echo wip >wip")
    rows = [line.split() for line in pair.done("changes").out.splitlines()]
    assert ["/workspace/project", "main", "1", "1", "file", "+1", "-0", "·", "1"] in rows
    assert "+more" in pair.done("changes", "--patch", "--repo", "project").out.splitlines()
    result = pair.done("fetch")
    assert ("1 commit → branch" in result, "--wip brings them" in result) == (True, True), result.out
    assert git(pair.top, "log", "-1", "--format=%s", pair.branch) == "two"
    pair.done("stop")
    pair.done("fetch", "--wip")
    subjects = git(pair.top, "log", "-2", "--format=%s", pair.branch).splitlines()
    assert subjects == [f"Uncommitted work in {pair.name}", "two"]
    assert git(pair.top, "show", f"{pair.branch}:wip") == "wip"
    assert (
        docker("ps", "--all", "--format", "{{.Names}} {{.Status}} {{.Command}}", "--filter", f"name=_{pair.name}_")
        == ""
    )
    assert untagged(pair.name) == []
    assert git(pair.top, "status", "--porcelain", "--untracked-files=no") == ""


@pytest.fixture(scope="module")
def running_pair(pair: Pair) -> Pair:
    pair.done("start", "--detach")
    return pair


@pytest.mark.guarantee("transfer-killed")
@pytest.mark.parametrize(
    ("verb", "point"),
    [
        *(("fetch", point) for point in ("before exec_piped", "after exec_piped")),
        *(("take", point) for point in ("after exec_piped", "before create", "after start", "before remove")),
    ],
)
def test_killed_transfer_leaves_the_repository_whole_and_the_next_one_goes_on(
    running_pair: Pair, verb: str, point: str
) -> None:
    pair = running_pair
    pair.work(f"echo {verb} {point} >>more; git add .; git commit -qm more")
    before = contents(pair.top)
    killed = pair.doit(verb, crash=f"any:{point}")
    assert killed.code == -9, killed.out
    assert contents(pair.top) == before
    pair.done(verb)
    assert git(pair.top, "show", f"{pair.branch}:more").splitlines()[-1] == f"{verb} {point}"
    wait_until(lambda: docker("ps", "--all", "--quiet", "--filter", f"name=_{pair.name}_") == "", 10)
    MATRIX[verb, point] = "0"
