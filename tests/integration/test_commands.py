"""What a person meets on the command line: list, info, forget, clean, several habitats, signals."""

from __future__ import annotations

import json
import re
import signal
from typing import TYPE_CHECKING

import pytest
from conftest import (
    Project,
    RunningDoit,
    clear,
    docker,
    fresh_name,
    left_containers,
    phases_of_line,
    snapshots,
    wait_until,
)

from phases.registry import PHASES
from phases.ui.verbs.registry import NAMES as VERBS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import CommandResult

    from phases.core.engine.docker_api.client import DockerEngine

pytestmark = pytest.mark.engine

NAMES = [phase.NAME for phase in PHASES[1:]]
OTHERS = [f"{verb}:NAME" for verb in VERBS if verb != "start"]
AFTER_FILES = NAMES[NAMES.index("setup") :]

#: Where no engine is.
NOWHERE = {"DOCKER_HOST": "unix:///nowhere/docker.sock"}

CONFIG = """
    description: lives in a small town
    base_image: {base}
    env: [USER=root, SYSTEM_PATH=, SHARED_PATH=]
    volumes:
      - source: gate
        dest: /gate
        readonly: true
    setup:
      root:
        - {setup}
    entry:
      command: echo {command}
"""

WAIT = "while [ -e /gate/closed ]; do sleep 0.05; done"


class TwoHabitats:
    """A project with two habitats."""

    def __init__(self, root: Path, base: str) -> None:
        self.project = Project(root)
        self.base = base
        self.names = (fresh_name(), fresh_name())
        (root / "gate").mkdir()
        self.begin()

    @property
    def first(self) -> str:
        return self.names[0]

    def begin(self) -> None:
        """All as it is at first."""
        (self.project.root / "gate/closed").unlink(missing_ok=True)
        for name in self.names:
            self.save(name)

    def save(self, name: str, setup: str = "touch /made", command: str = "hello", more: str = "") -> None:
        self.project.habitat(name, CONFIG.format(base=self.base, setup=setup, command=command) + more)

    def close_gate(self) -> Path:
        return self.project.write("gate/closed")

    def log(self, name: str) -> str:
        path = self.project.root / ".stamps" / name / "7-setup.log"
        return path.read_text() if path.exists() else ""

    def wait_in_setup(self, word: str, *names: str) -> None:
        """Until setup of each habitat has said `word`."""
        for name in names:
            wait_until(lambda name=name: word in self.log(name).splitlines())  # type: ignore[misc]


@pytest.fixture(scope="module")
def built_habitats(
    engine: DockerEngine, busybox: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[TwoHabitats, CommandResult]]:
    """Two habitats, and the run that built them."""
    two_habitats = TwoHabitats(tmp_path_factory.mktemp("project"), busybox)
    result = two_habitats.project.doit("build", "-n", "2")
    yield two_habitats, result
    for name in two_habitats.names:
        clear(engine, name)


@pytest.fixture
def two_habitats(built_habitats: tuple[TwoHabitats, CommandResult]) -> Iterator[TwoHabitats]:
    """Two habitats that are up to date."""
    result = built_habitats[0].project.doit("build")
    assert result.code == 0, result.out
    yield built_habitats[0]
    built_habitats[0].begin()


def containers(name: str) -> list[str]:
    """All containers that have to do with a habitat."""
    rows = docker("container", "ls", "--all", "--format", "{{.Names}}", "--filter", f"label=habitat.name={name}")
    return sorted(rows.split())


def statuses(result: CommandResult) -> dict[str, str]:
    """Task to letter, from `doit list --status`."""
    return {row.split()[1]: row.split()[0] for row in result.out.splitlines()}


# Building several


def test_build_builds_every_habitat_and_starts_none(built_habitats: tuple[TwoHabitats, CommandResult]) -> None:
    two_habitats, result = built_habitats
    assert result.code == 0, result.out
    for name in two_habitats.names:
        assert {"12-final", "final"} <= set(snapshots(name))
        assert left_containers(name) == []
        assert containers(name) == []
        assert f"{name} ready in " in result
    again = two_habitats.project.doit("build")
    assert again.code == 0
    assert [line.split(" in ")[0] for line in again.out.splitlines() if "ready" in line] == [
        f"{name} │ ✅ {name} ready" for name in sorted(two_habitats.names)
    ]


def test_output_of_two_habitats_names_habitat_in_each_line(built_habitats: tuple[TwoHabitats, CommandResult]) -> None:
    two_habitats, result = built_habitats
    rows = [line for line in result.out.splitlines() if line.strip()]
    assert all(row.startswith(tuple(f"{name} │ " for name in two_habitats.names)) for row in rows), result.out
    for name in two_habitats.names:
        own = [row.partition(" │ ")[2] for row in rows if row.startswith(name)]
        assert sorted((phase for row in own for phase in phases_of_line(row)), key=NAMES.index) == NAMES


def test_output_percentages_grow_to_100(built_habitats: tuple[TwoHabitats, CommandResult]) -> None:
    two_habitats, result = built_habitats
    for name in two_habitats.names:
        values = [int(value) for value in re.findall(rf"^{name} │ \[(\d+)%\]", result.out, re.MULTILINE)]
        assert len(values) > len(NAMES)
        assert values == sorted(values)
        assert values[-1] == 100


def test_output_in_pipe_has_no_escape_sequences(built_habitats: tuple[TwoHabitats, CommandResult]) -> None:
    two_habitats, result = built_habitats
    assert "\x1b" not in result.out
    assert "\r" not in result.out
    for argv in (["list"], ["info", f"final:{two_habitats.first}"], [f"setup:{two_habitats.first}"], ["nosuch"]):
        assert "\x1b" not in two_habitats.project.doit(*argv, env={"TERM": "xterm-256color"}).out


# list


def test_list_shows_phases_and_starts_in_order_without_engine(project: Project) -> None:
    for name in ("town", "alone"):
        project.habitat(name, f"description: |\n  this is\n  {name}\nbase_image: nothing:1")
    result = project.doit("list", env=NOWHERE)
    assert result.code == 0, result.out
    *listed, gap, more = result.out.splitlines()
    others = f"and {', '.join(OTHERS)}: `doit help` explains them, `doit list --all` shows every task"
    assert (gap, more) == ("", others)
    rows = [row.split(maxsplit=1) for row in listed]
    assert [row[0] for row in rows] == [*NAMES, "start:alone", "start:town"]
    assert [row[1] for row in rows] == [
        *(phase.DESCRIPTION for phase in PHASES[1:]),
        "this is alone",
        "this is town",
    ]


def test_list_all_shows_every_command_of_every_habitat(project: Project) -> None:
    for name in ("town", "alone"):
        project.habitat(name, "base_image: nothing:1")
    result = project.doit("list", "--all", env=NOWHERE)
    assert result.code == 0, result.out
    listed = {row.split(maxsplit=1)[0] for row in result.out.splitlines()}
    assert {verb.replace("NAME", name) for verb in OTHERS for name in ("town", "alone")} <= listed
    assert "shows every task" not in result


def test_list_with_dockerfile_habitat_shows_dockerfile_phase(project: Project) -> None:
    project.write("habitats/old/Dockerfile", "FROM nothing:1\n")
    result = project.doit("list", env=NOWHERE)
    assert result.code == 0, result.out
    assert result.out.split()[0] == "dockerfile"


def test_list_status_shows_up_to_date_phases(project: Project, busybox: str, name: str) -> None:
    project.habitat(name, f"base_image: {busybox}\nenv: [USER=root]")
    tasks = [*NAMES, *(f"{phase}:{name}" for phase in NAMES), f"start:{name}"]
    assert statuses(project.doit("list", "--all", "--status")) == dict.fromkeys(tasks, "R")
    assert project.doit(f"users:{name}").code == 0
    result = {task for phase in ("base", "users") for task in (phase, f"{phase}:{name}")}
    assert statuses(project.doit("list", "--all", "--status")) == {
        task: "U" if task in result else "R" for task in tasks
    }


def test_list_status_after_build_shows_all_up_to_date(two_habitats: TwoHabitats) -> None:
    assert set(statuses(two_habitats.project.doit("list", "--all", "--status")).values()) == {"U"}


# info


def test_info_shows_reason_why_phase_runs(project: Project, busybox: str, name: str) -> None:
    def config(user: str) -> None:
        project.habitat(name, f"base_image: {busybox}\nenv: [USER={user}]")

    def info(phase: str) -> CommandResult:
        return project.doit("info", f"{phase}:{name}")

    def reasons(result: CommandResult) -> list[str]:
        return [row[3:] for row in result.out.splitlines() if row.startswith(" * ")]

    config("root")
    assert project.doit(f"users:{name}").code == 0
    result = info("users")
    assert result.code == 0
    assert "status     : up-to-date" in result
    assert f"values     : .stamps/{name}/2-users.json\nfollows    : base:{name}\n" in result

    result = info("env")
    assert result.code == 1
    assert len(reasons(result)) == 1
    assert reasons(result)[0] == "it isn't built yet"

    config("other")
    result = info("users")
    assert result.code == 1
    assert reasons(result) == ["env.USER: root → other"]
    config("root")

    assert project.doit("forget", f"users:{name}").code == 0
    result = info("users")
    assert result.code == 1
    assert reasons(result) == ["it was forgotten"]
    assert info("base").code == 0

    docker("image", "rm", f"habitat-{name}:2-users", f"habitat-{name}:1-base")
    result = info("base")
    assert result.code == 1
    assert len(reasons(result)) == 1
    assert f"habitat-{name}:1-base" in reasons(result)[0]
    assert "gone" in reasons(result)[0]


def test_info_shows_no_internal_reason_of_doit(two_habitats: TwoHabitats) -> None:
    two_habitats.save(two_habitats.first, setup="touch /other")
    result = two_habitats.project.doit("info", f"setup:{two_habitats.first}")
    assert result.code == 1
    assert "→ touch /other" in result
    assert len([row for row in result.out.splitlines() if row.startswith(" * ")]) == 1, result.out


# forget


def test_forget_without_name_applies_to_all_phases_and_habitats(
    project: Project, busybox: str, name: str, engine: DockerEngine
) -> None:
    other = fresh_name()
    try:
        for habitat in (name, other):
            project.habitat(habitat, f"base_image: {busybox}\nenv: [USER=root]")
        assert project.doit(f"users:{name}", f"base:{other}").code == 0
        forgotten = project.doit("forget")
        assert forgotten.code == 0
        assert len(forgotten.out.splitlines()) == 2 * len(NAMES)
        assert {row.split()[-1] for row in forgotten.out.splitlines()} == {
            f"{phase}:{habitat}" for phase in NAMES for habitat in (name, other)
        }
        assert project.doit(f"users:{name}").ran == ["base", "users"]
        assert project.doit(f"users:{name}").ran == []
        assert project.doit(f"base:{other}").ran == ["base"]
    finally:
        clear(engine, other)


# Names


@pytest.mark.parametrize(
    "argv", [("setpu:hello",), *((command, "setpu:hello") for command in ("info", "forget", "clean", "list"))]
)
def test_unknown_task_is_one_line_error_of_every_command(project: Project, argv: tuple[str, ...]) -> None:
    project.habitat("hello", "base_image: nothing:1")
    result = project.doit(*argv, env=NOWHERE)
    assert result.code == 3
    assert result.out.splitlines() == ["ERROR: there is no task 'setpu:hello': `doit help` lists all commands"]


# A broken habitat


def test_broken_habitat_does_not_stop_other_habitats(two_habitats: TwoHabitats) -> None:
    broken = two_habitats.project.habitat("broken", "base_image: x\nfils: []")
    try:
        error = "habitats/broken/config.yaml:2: unknown key 'fils': did you mean 'files'?"
        listed = two_habitats.project.doit("list", env=NOWHERE)
        assert listed.code == 0
        assert [row.split(maxsplit=1)[1] for row in listed.out.splitlines() if row.startswith(f"start:{broken}")] == [
            f"broken: {error}"
        ]
        two_habitats.save(two_habitats.first, command="goodbye")
        result = two_habitats.project.doit("build")
        assert result.code != 0
        assert "Traceback" not in result
        rows = [row.split("│", 1)[-1].strip() for row in result.out.splitlines()]
        assert [row for row in rows if "❌" in row] == [f"❌ {error}"]
        for name in two_habitats.names:
            assert any(row.startswith(f"✅ {name} ready in ") for row in rows), result.out
    finally:
        (two_habitats.project.root / "habitats/broken/config.yaml").unlink()
        (two_habitats.project.root / "habitats/broken").rmdir()


# Output


def test_output_lines_appear_immediately(two_habitats: TwoHabitats) -> None:
    two_habitats.save(
        two_habitats.first, setup=f"echo gate three; {WAIT}; echo behind the gate", more="    debug: true\n"
    )
    gate = two_habitats.close_gate()
    with RunningDoit(two_habitats.project, f"setup:{two_habitats.first}") as running:
        running.wait_for("    gate three\n")
        assert "behind" not in running.out
        assert "[66%] Running setup commands...\n" in running.out
        gate.unlink()
        result = running.end()
    assert result.code == 0
    assert "    behind the gate\n" in result


# Stopped by a signal


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_signal_stops_build_and_removes_container(two_habitats: TwoHabitats, number: signal.Signals, code: int) -> None:
    two_habitats.save(two_habitats.first, setup=f"echo gate {number}; {WAIT}")
    two_habitats.close_gate()
    with RunningDoit(two_habitats.project, f"final:{two_habitats.first}") as running:
        two_habitats.wait_in_setup(f"gate {number}", two_habitats.first)
        running.process.send_signal(number)
        result = running.end(10)
    assert result.code == code
    assert result.out.rstrip().splitlines()[-1].startswith(f"stopped in setup:{two_habitats.first}: ")
    assert "Traceback" not in result
    assert "❌" not in result
    assert left_containers(two_habitats.first) == []


def test_signal_stops_parallel_builds_and_removes_containers(two_habitats: TwoHabitats) -> None:
    for name in two_habitats.names:
        two_habitats.save(name, setup=f"echo gate four; {WAIT}")
    two_habitats.close_gate()
    with RunningDoit(two_habitats.project, "build", "-n", "2") as running:
        two_habitats.wait_in_setup("gate four", *two_habitats.names)
        running.process.send_signal(signal.SIGINT)
        result = running.end(20)
    assert result.code == 130, result.out
    assert "Traceback" not in result
    assert [line for line in result.out.splitlines() if line.startswith("stopped in ")], result.out
    for name in two_habitats.names:
        assert f"setup:{name}" in result.out.rstrip().splitlines()[-1]
        assert left_containers(name) == []


# Stamps that are not as they should be


def test_stamps_folder_replaced_by_file_is_named_in_error(project: Project, busybox: str, name: str) -> None:
    project.habitat(name, f"base_image: {busybox}")
    (project.root / ".stamps").rmdir()
    project.write(".stamps", "in the way")
    result = project.doit(f"final:{name}")
    assert result.code not in (0, 3)
    assert "Traceback" not in result
    assert ".stamps" in result
    assert len([line for line in result.out.splitlines() if "can't be" in line]) == 1, "it is told once"
    assert snapshots(name) == {}
    assert project.doit("list").code == 0
    for argv in (("forget", f"base:{name}"), ("info", f"base:{name}"), ("clean",)):
        assert "Traceback" not in project.doit(*argv)


@pytest.mark.parametrize("content", ["", "[]", "\x00\xff"])
def test_stamp_unreadable_gives_warning_and_builds_nothing(two_habitats: TwoHabitats, content: str) -> None:
    folder = two_habitats.project.root / ".stamps" / two_habitats.first
    (folder / "7-setup.stamp").write_bytes(content.encode("latin-1"))
    result = two_habitats.project.doit(f"final:{two_habitats.first}")
    assert result.code == 0
    assert result.ran == []
    warnings = [line for line in result.out.splitlines() if line.startswith("⚠ ")]
    assert len(warnings) == 1
    assert warnings[0].startswith(f"⚠ .stamps/{two_habitats.first}/7-setup.stamp: ")
    again = two_habitats.project.doit(f"final:{two_habitats.first}")
    assert "⚠" not in again, "it was written anew"


@pytest.mark.parametrize("values", ["text", {"hash": 7}])
def test_stamp_of_other_shape_does_not_crash(two_habitats: TwoHabitats, values: object) -> None:
    """What was verified says the stamp alone as long as final is not there."""
    path = two_habitats.project.root / ".stamps" / two_habitats.first / "11-test.stamp"
    path.write_text(json.dumps({"_values_:": values, "deps:": []}))
    two_habitats.save(two_habitats.first, command="others")
    try:
        result = two_habitats.project.doit(f"final:{two_habitats.first}")
    finally:
        path.unlink()
    assert result.code == 0, result.out
    assert result.ran == ["test", "final"]


# clean. These remove the habitats; the fixture builds it again for each.


def test_clean_of_phase_removes_its_and_later_snapshots(two_habitats: TwoHabitats) -> None:
    other = snapshots(two_habitats.names[1])
    result = two_habitats.project.doit("clean", f"setup:{two_habitats.first}")
    assert result.code == 0, result.out
    assert sorted(snapshots(two_habitats.first)) == ["1-base", "2-users", "3-env", "4-workdir", "5-habitat", "6-files"]
    assert snapshots(two_habitats.names[1]) == other
    left = {
        path.name.partition("-")[2]
        for path in (two_habitats.project.root / ".stamps" / two_habitats.first).glob("*-*.*")
    }
    assert {name.partition(".")[0] for name in left} == set(NAMES) - set(AFTER_FILES)
    assert "<function" not in result
    assert "Python" not in result, "a person is told what was removed"
    assert two_habitats.project.doit(f"final:{two_habitats.first}").ran == AFTER_FILES


def test_clean_without_engine_is_one_line_error(project: Project) -> None:
    project.habitat("hello", "base_image: nothing:1")
    for argv in (("clean",), ("clean", "setup:hello")):
        result = project.doit(*argv, env=NOWHERE)
        assert len(result.out.splitlines()) == 1, result.out
        assert "no Docker engine answers" in result
        assert result.code != 0


def test_clean_dry_run_removes_nothing(two_habitats: TwoHabitats) -> None:
    before = [snapshots(name) for name in two_habitats.names]
    files = sorted((two_habitats.project.root / ".stamps").rglob("*"))
    for argv in (("clean", "--dry-run"), ("clean", "--dry-run", f"setup:{two_habitats.first}")):
        assert two_habitats.project.doit(*argv).code == 0
    assert [snapshots(name) for name in two_habitats.names] == before
    assert sorted((two_habitats.project.root / ".stamps").rglob("*")) == files


@pytest.mark.parametrize("task", ["", "setup"])
def test_clean_during_build_lets_build_succeed(two_habitats: TwoHabitats, task: str) -> None:
    """It may wait for the other run, or say that there is one."""
    word = f"gate clean {task}"
    two_habitats.save(two_habitats.first, setup=f"echo {word}; {WAIT}")
    gate = two_habitats.close_gate()
    with RunningDoit(two_habitats.project, f"setup:{two_habitats.first}") as build:
        two_habitats.wait_in_setup(word.strip(), two_habitats.first)
        with RunningDoit(two_habitats.project, "clean", *([f"{task}:{two_habitats.first}"] if task else [])) as clean:
            clean.settle()
            gate.unlink()
            assert build.end().code == 0, build.out
            assert "Traceback" not in clean.end()


@pytest.mark.guarantee("started-container-kept")
def test_clean_removes_all_built_images_and_no_started_container(two_habitats: TwoHabitats) -> None:
    started = two_habitats.project.doit(f"start:{two_habitats.first}")
    assert started.code == 0, started.out
    assert "hello" in started
    plain = f"{two_habitats.first}-plain"
    running = f"{two_habitats.first}-running"
    image = f"habitat-{two_habitats.first}:final"
    docker("run", "--name", plain, image, "sh", "-c", "echo work >/mine")
    docker("run", "--detach", "--name", running, image, "sleep", "600")
    everything = set(docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}").split())
    result = two_habitats.project.doit("clean")
    assert result.code == 0, result.out
    for name in two_habitats.names:
        assert snapshots(name) == {}
        assert not list((two_habitats.project.root / ".stamps" / name).glob("[0-9]*"))
        assert f"{name}: removed 10 images" in result
    assert containers(two_habitats.first) == sorted([plain, running, f"habitat-{two_habitats.first}"])
    first = two_habitats.first
    assert f"kept habitat-{first}, which you started; to remove it too: `doit destroy:{first}`\n" in result.out
    assert f"to remove them too: `docker rm -f {plain} {running} && doit clean {first}`\n" in result.out
    left = set(docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}").split())
    assert two_habitats.base in left
    ours = tuple(f"habitat-{name}:" for name in two_habitats.names)
    assert {tag for tag in everything - left if tag.startswith("habitat-habtest")} >= {
        tag for tag in everything if tag.startswith(ours)
    }
    assert docker("exec", running, "echo", "alive") == "alive"
    saved = f"habitat-{two_habitats.first}:saved"
    docker("commit", plain, saved)
    assert docker("run", "--rm", saved, "cat", "/mine") == "work"
