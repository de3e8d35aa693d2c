"""Two habitats on the real engine that agree up to a phase: the second takes over what the first has."""

from __future__ import annotations

import json
import re
import signal
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from conftest import ROOT, RunningDoit, clear, fresh_name, snapshots, untagged, wait_until
from image_comparison import differences
from kill_points import DODO

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Project

    from phases.core.engine.docker_api.client import DockerEngine

pytestmark = pytest.mark.engine

SHARING = {"HABITATS_SHARING": "on"}
SHARED = ["1-base", "2-users", "3-env", "4-workdir", "5-habitat", "6-files", "7-setup"]

# Each script that a phase runs leaves a line on the host.
CONFIG = """\
base_image: {image}
env: [USER=dev, COLOUR=red]
volumes: [{{source: {seen}, dest: /seen}}]
files: [{{source: payload, dest: ~/payload}}]
setup:
  root: ["echo setup >>/seen/ran; chmod 666 /seen/ran; echo made >/etc/made"]
repos:
  - {{url: /seen/{repository}, path: app, setup: ["echo repos >>/seen/ran"]}}
entry: {{command: sh}}
"""


class SharingProject:
    """Habitats of one project whose configs differ from repos on. seen: a folder that their builds write to."""

    def __init__(self, project: Project, image: str) -> None:
        self.project = project
        self.image = image
        self.seen = project.root / "seen"
        self.seen.mkdir(mode=0o777)
        self.seen.chmod(0o777)
        project.write("payload/a.txt", "first\n")
        for repository in ("one", "two"):
            project.write(f"seen/{repository}/file", f"{repository}\n")
            git = ("git", "-c", "user.name=t", "-c", "user.email=t@example.org")
            for argv in (("init", "--quiet", "."), ("add", "."), ("commit", "--quiet", "-m", "x")):
                result = project.run(*git, "-C", str(self.seen / repository), *argv)
                assert result.code == 0, result.out
        self.names: list[str] = []

    def habitat(self, repository: str) -> str:
        config = CONFIG.format(image=self.image, seen=self.seen, repository=repository)
        name = self.project.habitat(fresh_name(), config)
        self.names.append(name)
        return name

    def ran(self) -> list[str]:
        """What was run since the last time that this was asked."""
        path = self.seen / "ran"
        rows = path.read_text().split() if path.exists() else []
        path.unlink(missing_ok=True)
        return rows


@pytest.fixture
def sharing_project(project: Project, engine: DockerEngine, git_image: str) -> Iterator[SharingProject]:
    sharing_project = SharingProject(project, git_image)
    yield sharing_project
    for name in sharing_project.names:
        clear(engine, name)


@pytest.mark.guarantee("sharing-only-equal-results")
def test_sharing_habitat_with_other_repos_builds_only_later_phases(sharing_project: SharingProject) -> None:
    one, two, alone = (sharing_project.habitat(repository) for repository in ("one", "two", "two"))
    assert sharing_project.project.doit(f"final:{one}", env=SHARING).code == 0
    assert sharing_project.ran() == ["setup", "repos"]
    plan = sharing_project.project.doit(f"plan:{two}", env=SHARING)
    assert re.search(rf"^⇒ reuse base … setup of {one}, build repos … final, ", plan.out, re.MULTILINE), plan.out
    info = sharing_project.project.doit("info", f"setup:{two}", env=SHARING)
    assert f"the snapshot of {one} is reused instead" in " ".join(info.out.split())
    result = sharing_project.project.doit(f"final:{two}", env=SHARING)
    assert result.code == 0, result.out
    assert f"♻ base … setup: shared with {one}" in result.out
    assert result.ran == ["repos", "tools", "verify", "test", "final"]
    assert sharing_project.ran() == ["repos"]
    first, second = snapshots(one), snapshots(two)
    assert [second[tag] for tag in SHARED] == [first[tag] for tag in SHARED]
    assert second["8-repos"] != first["8-repos"]
    assert sharing_project.project.doit(f"plan:{two}").out == f"{two}: nothing to do\n"

    assert sharing_project.project.doit(f"final:{alone}").code == 0
    assert sharing_project.ran() == ["setup", "repos"]
    assert snapshots(alone)["1-base"] != first["1-base"]
    differing = differences(f"habitat-{two}:final", f"habitat-{alone}:final", ignoring=("/etc/habitat-release",))
    assert differing == []


@pytest.mark.guarantee("sharing-removal-leaves-other-habitat")
def test_sharing_clean_of_one_habitat_keeps_snapshots_of_other(sharing_project: SharingProject) -> None:
    one, two = sharing_project.habitat("one"), sharing_project.habitat("two")
    for name in (one, two):
        assert sharing_project.project.doit(f"repos:{name}", env=SHARING).code == 0
    before = snapshots(two)
    assert sharing_project.project.doit("clean", f"setup:{one}").code == 0
    assert sorted(snapshots(one)) == SHARED[:-1]
    assert snapshots(two) == before
    assert sharing_project.project.doit("forget", f"setup:{two}").code == 0
    assert sharing_project.project.doit(f"setup:{two}", env=SHARING).ran == ["setup"], (
        "it is built again, and one alone is left"
    )
    assert sharing_project.project.doit("clean", f"base:{two}").code == 0
    assert snapshots(two) == {}
    assert sharing_project.project.doit(f"files:{one}", env=SHARING).ran == []
    assert sharing_project.project.doit("clean", f"base:{one}").code == 0
    assert untagged(one) == untagged(two) == []


def test_always_option_turns_sharing_off(sharing_project: SharingProject) -> None:
    one, two = sharing_project.habitat("one"), sharing_project.habitat("one")
    assert sharing_project.project.doit(f"users:{one}", env=SHARING).code == 0
    assert sharing_project.project.doit("-a", f"users:{two}", env=SHARING).ran == ["base", "users"]


def test_sharing_is_reported_in_jsonl_events(sharing_project: SharingProject) -> None:
    one, two = sharing_project.habitat("one"), sharing_project.habitat("two")
    assert sharing_project.project.doit(f"users:{one}", env=SHARING).code == 0
    result = sharing_project.project.doit("-r", "jsonl", "-o", "run.jsonl", f"env:{two}", env=SHARING)
    assert result.code == 0, result.out
    rows = [json.loads(row) for row in (sharing_project.project.root / "run.jsonl").read_text().splitlines()]
    shared = [row for row in rows if row["event"] == "phase_shared"]
    assert [(row["phase"], row["shared_with"]) for row in shared] == [("base", one), ("users", one)]
    assert shared[0]["image"] == snapshots(two)["1-base"]
    planned = next(row for row in rows if row["event"] == "build_planned")
    assert [phase.get("shared_with", "") for phase in planned["phases"]] == [one, one, ""]
    assert rows[-1]["counts"]["phases_shared"] == 2
    assert rows[-1]["counts"]["phases_finished"] == 1


@pytest.mark.guarantee("sharing-source-disappears")
def test_sharing_run_after_killed_one_repeats_no_phase(sharing_project: SharingProject) -> None:
    sharing_project.project.write("dodo.py", DODO)
    one, two = sharing_project.habitat("one"), sharing_project.habitat("two")
    path = {"PYTHONPATH": str(ROOT / "tests"), **SHARING}
    assert sharing_project.project.doit(f"setup:{one}", env=path).code == 0
    sharing_project.ran()
    for phase, point in (("base", "shared"), ("env", "stamped"), ("files", "before the stamp"), ("setup", "shared")):
        result = sharing_project.project.doit(f"final:{two}", env={**path, "CRASH": f"{phase}:{point}"})
        assert result.code == -signal.SIGKILL, result.out
    result = sharing_project.project.doit(f"final:{two}", env=path)
    assert result.code == 0, result.out
    assert result.ran == ["repos", "tools", "verify", "test", "final"]
    assert sharing_project.ran() == ["repos"]
    assert [snapshots(two)[tag] for tag in SHARED] == [snapshots(one)[tag] for tag in SHARED]


@pytest.mark.guarantee("sharing-parallel-builds")
@pytest.mark.parametrize("in_one_run", [True, False])
def test_sharing_parallel_builds_build_each_phase_once(sharing_project: SharingProject, in_one_run: bool) -> None:
    names = [sharing_project.habitat(repository) for repository in ("one", "two", "two")]
    tasks = [f"final:{name}" for name in names]
    if in_one_run:
        result = sharing_project.project.doit("-n", "3", "-P", "thread", *tasks, env=SHARING)
        assert result.code == 0, result.out
    else:
        with ExitStack() as stack:
            runs = [stack.enter_context(RunningDoit(sharing_project.project, task, env=SHARING)) for task in tasks]
            for run in runs:
                result = run.end()
                assert result.code == 0, result.out
    tags = [snapshots(name) for name in names]
    for tag in SHARED:
        assert len({images[tag] for images in tags}) == 1, tag
    assert tags[1]["9-tools"] == tags[2]["9-tools"]
    assert sorted(sharing_project.ran()) == ["repos", "repos", "setup"]


@pytest.mark.guarantee("sharing-parallel-builds")
def test_sharing_killed_run_does_not_block_other_run(sharing_project: SharingProject) -> None:
    one, two = sharing_project.habitat("one"), sharing_project.habitat("two")
    gate = sharing_project.project.write("seen/closed")
    for name in (one, two):
        path = f"habitats/{name}/config.yaml"
        text = (sharing_project.project.root / path).read_text()
        slow = "while [ -e /seen/closed ]; do sleep 0.05; done; echo setup"
        sharing_project.project.write(path, text.replace("echo setup", slow))
    with (
        RunningDoit(sharing_project.project, f"setup:{one}", env=SHARING) as first,
        RunningDoit(sharing_project.project, f"setup:{two}", env=SHARING) as second,
    ):
        ahead, behind = first, second
        wait_until(lambda: "waiting for another run that builds the same setup" in first.out + second.out)
        if "builds the same setup" in first.out:
            ahead, behind = second, first
        ahead.process.kill()
        behind.wait_for("Running setup commands")
        gate.unlink()
        result = behind.end()
        assert result.code == 0, result.out
    assert sharing_project.project.doit(f"setup:{one}", f"setup:{two}", env=SHARING).code == 0
    assert snapshots(one)["7-setup"] == snapshots(two)["7-setup"]
