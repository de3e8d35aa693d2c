"""Several runs at once: of one habitat, of many, in one process, and of two clones of a project."""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections import Counter
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
from conftest import (
    Project,
    RunningDoit,
    clear,
    clones_of_one_repository,
    docker,
    fresh_name,
    inspect,
    left_containers,
    phases_of_line,
    snapshots,
    untagged,
    wait_until,
)

from phases.protocol import slug
from phases.registry import PHASES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import CommandResult

    from phases.core.engine.docker_api.client import DockerEngine

pytestmark = pytest.mark.engine

NAMES = [phase.NAME for phase in PHASES[1:]]
SLUGS = [slug(phase) for phase in PHASES[1:]]
AFTER_FILES = NAMES[NAMES.index("setup") :]

CONFIG = """
    base_image: {base}
    env: [USER=root, SYSTEM_PATH=, SHARED_PATH=]
    volumes:
      - {{source: gate, dest: /gate, readonly: true}}
    setup:
      root:
        - {setup}
    entry:
      command: echo hello
"""

WAIT = "echo at the gate; while [ -e /gate/closed ]; do sleep 0.05; done"


class ProjectWithHabitats:
    """A project, with as many habitats as a test wants."""

    def __init__(self, root: Path, base: str, names: list[str]) -> None:
        self.project = Project(root)
        self.base = base
        self._names = names
        self.gate = root / "gate/closed"
        self.gate.parent.mkdir()

    def habitat(self, setup: str = "touch /made", name: str = "") -> str:
        name = name or fresh_name()
        self._names.append(name)
        return self.project.habitat(name, CONFIG.format(base=self.base, setup=setup))

    def state(self, name: str) -> Path:
        return self.project.root / ".stamps" / name

    def wait_in_setup(self, name: str) -> None:
        log = self.state(name) / "7-setup.log"
        wait_until(lambda: log.exists() and "at the gate\n" in log.read_text())

    def running(self, *argvs: tuple[str, ...]) -> list[CommandResult]:
        """All at once, to their ends."""
        with ExitStack() as stack:
            runs = [stack.enter_context(RunningDoit(self.project, *argv)) for argv in argvs]
            return [run.end(240) for run in runs]


@pytest.fixture
def names(engine: DockerEngine) -> Iterator[list[str]]:
    """Habitats that were made; nothing of them is left."""
    names: list[str] = []
    yield names
    for name in names:
        clear(engine, name)


@pytest.fixture
def project(tmp_path: Path, busybox: str, names: list[str]) -> ProjectWithHabitats:
    return ProjectWithHabitats(tmp_path, busybox, names)


def check_records(project: ProjectWithHabitats, name: str, until: str = "final") -> None:
    """All that is recorded of a habitat is whole, and true of what is on the engine."""
    slugs = SLUGS[: NAMES.index(until) + 1]
    state = project.state(name)
    assert {path.stem for path in state.glob("*.stamp")} == set(slugs)
    assert list(state.glob(".*")) == [], "nothing half-written"
    hashes = {part: hashlib.sha256((state / f"{part}.json").read_bytes()).hexdigest() for part in SLUGS}
    for part in slugs:
        stamp: dict[str, Any] = json.loads((state / f"{part}.stamp").read_text())
        assert stamp["_values_:"]["hash"] == hashes[part]
    check_chain(name, hashes)
    assert untagged(name) == []
    assert left_containers(name) == []


def check_chain(name: str, hashes: dict[str, str]) -> None:
    """Each snapshot has the labels of what made it, and rests on the one before. hashes: by slug."""
    tags = snapshots(name)
    before = ""
    for part in (part for part in SLUGS if part in tags):
        labels = inspect(tags[part])["Config"]["Labels"]
        for earlier in SLUGS[: SLUGS.index(part) + 1]:
            assert labels[f"{earlier.partition('-')[2]}.hash"] == hashes[earlier], f"{earlier} of {part}"
        assert before in ("", labels["habitat.parent"])
        before = tags[part]


def ran(results: list[CommandResult]) -> dict[str, Counter[str]]:
    """How often each phase ran, by habitat; "" where a run builds one."""
    counts: dict[str, Counter[str]] = {}
    for result in results:
        for line in result.out.splitlines():
            if match := re.match(r"(?:(\S+) +│ )?(\[\d+%\] ✅ .*)", line):
                counts.setdefault(match[1] or "", Counter()).update(phases_of_line(match[2]))
    return counts


def check_all_well(results: list[CommandResult]) -> None:
    for result in results:
        assert result.code == 0, result.out
        assert "Traceback" not in result


# Two runs


@pytest.mark.guarantee("second-run-waits")
def test_second_run_of_same_habitat_waits_and_builds_nothing(project: ProjectWithHabitats) -> None:
    name = project.habitat(WAIT)
    project.gate.touch()
    with RunningDoit(project.project, f"final:{name}") as one:
        project.wait_in_setup(name)
        with RunningDoit(project.project, f"final:{name}") as two:
            two.wait_for("waiting for another run")
            expected = rf"waiting for another run that builds {name} \(pid {one.process.pid} since \d\d:\d\d:\d\d\)"
            assert re.search(expected, two.out)
            project.gate.unlink()
            first, second = one.end(), two.end()
    check_all_well([first, second])
    assert first.ran == NAMES
    assert second.ran == [], second.out
    assert f"{name} ready in " in second
    check_records(project, name)


def test_second_run_builds_phases_left_by_first(project: ProjectWithHabitats) -> None:
    name = project.habitat(WAIT)
    project.gate.touch()
    with RunningDoit(project.project, f"repos:{name}") as one:
        project.wait_in_setup(name)
        with RunningDoit(project.project, f"final:{name}") as two:
            two.wait_for("waiting for another run")
            project.gate.unlink()
            first, second = one.end(), two.end()
    check_all_well([first, second])
    assert first.ran == NAMES[: NAMES.index("tools")]
    assert second.ran == ["tools", "verify", "test", "final"]
    check_records(project, name)


@pytest.mark.guarantee("second-run-waits")
def test_runs_of_different_habitats_build_in_parallel(project: ProjectWithHabitats) -> None:
    names = [project.habitat(WAIT), project.habitat(WAIT)]
    project.gate.touch()
    with (
        RunningDoit(project.project, f"final:{names[0]}") as one,
        RunningDoit(project.project, f"final:{names[1]}") as two,
    ):
        for name in names:  # both are in it before either may go on
            project.wait_in_setup(name)
        project.gate.unlink()
        results = [one.end(), two.end()]
    check_all_well(results)
    for result in results:
        assert result.ran == NAMES
        assert "waiting for another run" not in result
    for name in names:
        check_records(project, name)


@pytest.mark.guarantee("second-run-waits")
def test_killed_run_releases_waiting_run(project: ProjectWithHabitats) -> None:
    name = project.habitat(WAIT)
    project.gate.touch()
    with RunningDoit(project.project, f"final:{name}") as killed:
        project.wait_in_setup(name)
        with RunningDoit(project.project, f"final:{name}") as waiting:
            waiting.wait_for("waiting for another run")
            killed.process.kill()
            project.gate.unlink()
            result = waiting.end()
    check_all_well([result])
    assert result.ran == AFTER_FILES
    check_records(project, name)
    after = project.project.doit(f"final:{name}")
    assert "waiting for another run" not in after


# One run, several habitats


@pytest.mark.guarantee("second-run-waits")
def test_four_habitats_are_built_by_one_run(project: ProjectWithHabitats) -> None:
    names = [project.habitat() for _ in range(4)]
    result = project.project.doit("build", "-n", "4", "-P", "thread")
    check_all_well([result])
    assert ran([result]) == {name: Counter(NAMES) for name in names}
    for name in names:
        check_records(project, name)


def test_one_failing_habitat_of_four_does_not_stop_others(project: ProjectWithHabitats) -> None:
    bad, *good = (project.habitat(setup) for setup in ("exit 3", "touch /a", "touch /b", "touch /c"))
    result = project.project.doit("build", "-n", "4", "-P", "thread")
    assert result.code == 2
    assert "Traceback" not in result
    assert len([line for line in result.out.splitlines() if "❌ setup:" in line]) == 1
    assert f"3 of 4 ready; failed: {bad}" in result
    for name in good:
        check_records(project, name)
    check_records(project, bad, until="files")
    assert "7-setup" not in snapshots(bad)


# Many runs


@pytest.mark.guarantee("twenty-parallel-starts")
def test_twenty_parallel_starts_build_once_and_share_container(project: ProjectWithHabitats) -> None:
    name = project.habitat()
    results = project.running(*[(f"start:{name}",)] * 20)
    check_all_well(results)
    assert ran(results) == {"": Counter(NAMES)}
    for result in results:
        assert "hello" in result.out.splitlines()
    check_records(project, name)
    rows = docker("ps", "--all", "--filter", f"label=habitat.name={name}", "--format", "{{.Names}} {{.State}}")
    assert rows == f"habitat-{name} exited"
    assert list(project.state(name).glob("starts.*")) == []


@pytest.mark.guarantee("twenty-parallel-starts")
def test_twenty_parallel_runs_of_ten_habitats_lose_no_stamp(project: ProjectWithHabitats) -> None:
    names = [project.habitat() for _ in range(10)]
    dice = random.Random(20)  # the same orders each time
    argvs = [tuple(f"workdir:{name}" for name in dice.sample(names, len(names))) for _ in range(20)]
    results = project.running(*argvs)
    check_all_well(results)
    assert ran(results) == {name: Counter(NAMES[: NAMES.index("workdir") + 1]) for name in names}
    for name in names:
        check_records(project, name, until="workdir")


# Two clones of a project


@pytest.fixture
def clones(tmp_path: Path, busybox: str, names: list[str]) -> list[ProjectWithHabitats]:
    folders = [tmp_path / word for word in ("one", "two")]
    for folder in folders:
        folder.mkdir()
    clones_of_one_repository(*folders)
    return [ProjectWithHabitats(folder, busybox, names) for folder in folders]


def both(clones: list[ProjectWithHabitats], name: str) -> list[CommandResult]:
    with RunningDoit(clones[0].project, f"final:{name}") as one, RunningDoit(clones[1].project, f"final:{name}") as two:
        return [one.end(), two.end()]


@pytest.mark.guarantee("two-clones-take-turns")
def test_two_clones_of_same_config_build_once(clones: list[ProjectWithHabitats]) -> None:
    name = fresh_name()
    for project in clones:
        project.habitat(name=name)
    results = both(clones, name)
    check_all_well(results)
    assert ran(results) == {"": Counter(NAMES)}
    for project in clones:
        check_records(project, name)


@pytest.mark.guarantee("two-clones-take-turns")
def test_two_clones_of_different_configs_take_turns(clones: list[ProjectWithHabitats]) -> None:
    name = fresh_name()
    for number, project in enumerate(clones):
        project.habitat(f"echo {number} >/who", name=name)
    results = both(clones, name)
    check_all_well(results)
    last = int(docker("run", "--rm", f"habitat-{name}:final", "cat", "/who"))
    check_records(clones[last], name)
    assert ran([results[last]]) != {}
    assert clones[1 - last].project.doit(f"final:{name}").ran == AFTER_FILES
    check_records(clones[1 - last], name)
