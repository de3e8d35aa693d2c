"""Commits out of a habitat and into it, on the real engine."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest
from conftest import clear, docker, fresh_name

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import Project

    from phases.core.engine.docker_api.client import DockerEngine

pytestmark = pytest.mark.engine

CONFIG = """\
base_image: {image}
env: [USER=agent, WORKDIR=/workspace]
setup:
  root: [git config --system user.name Agent, git config --system user.email agent@example.org]
repos: [{{url: ., path: project}}]
entry: {{command: "true"}}
"""

WORK = "echo more >>file; git commit -qam {name}; echo wip >new"


def git(folder: Path, *words: str) -> str:
    command = ["git", "-C", str(folder), "-c", "user.name=me", "-c", "user.email=me@example.org", *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def name(engine: DockerEngine) -> Iterator[str]:
    name = fresh_name()
    yield name
    clear(engine, name)


def test_commits_of_running_and_of_stopped_habitat_come_into_a_branch(
    project: Project, name: str, git_image: str
) -> None:
    project.habitat(name, CONFIG.format(image=git_image))
    git(project.root, "init", "-q", "-b", "main")
    (project.root / "file").write_text("one\n")
    git(project.root, "add", "file")
    git(project.root, "commit", "-qm", "one")
    branch = f"habitat/{name}/main"

    def work(commit: str) -> None:
        script = f"cd project; {WORK.format(name=commit)}"
        result = project.doit(f"exec:{name}", "--", "sh", "-euc", script)
        assert result.code == 0, result.out

    assert project.doit(f"start:{name}", "--detach").code == 0
    work("two")
    result = project.doit(f"changes:{name}")
    assert result.code == 0, result.out
    rows = [line.split() for line in result.out.splitlines()]
    assert ["/workspace/project", "main", "1", "1", "file", "+1", "-0", "·", "1"] in rows
    assert "+more" in project.doit(f"changes:{name}", "--patch", "--repo", "project").out.splitlines()
    result = project.doit(f"fetch:{name}")
    assert (result.code, "1 commit → branch" in result, "--wip brings them" in result) == (0, True, True), result.out
    assert git(project.root, "log", "--format=%s", branch).split() == ["two", "one"]
    project.doit(f"stop:{name}")
    result = project.doit(f"fetch:{name}", "--wip")
    assert result.code == 0, result.out
    assert git(project.root, "log", "-2", "--format=%s", branch).splitlines() == [f"Uncommitted work in {name}", "two"]
    assert git(project.root, "show", f"{branch}:new") == "wip"
    assert docker("ps", "--all", "--quiet", "--filter", f"name=_{name}_") == ""
    assert docker("images", "--quiet", "--filter", "dangling=true", "--filter", f"label=habitat.name={name}") == ""
    assert git(project.root, "status", "--porcelain", "--untracked-files=no") == ""
