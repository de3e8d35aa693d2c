"""What a person meets on the command line: list, info, forget, clean, several habitats, signals."""

from __future__ import annotations

import json
import re
import signal
from typing import TYPE_CHECKING

import pytest
from conftest import Project, RunningDoit, clear, docker, fresh_name, left_containers, snapshots, wait_until

from phases.registry import PHASES
from phases.ui.verbs.registry import NAMES as VERBS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import CommandResult

    from phases.core.engine.client import DockerEngine

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
def built(
    engine: DockerEngine, busybox: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[TwoHabitats, CommandResult]]:
    """The town, and the run that built it."""
    town = TwoHabitats(tmp_path_factory.mktemp("town"), busybox)
    done = town.project.doit("-n", "2")
    yield town, done
    for name in town.names:
        clear(engine, name)


@pytest.fixture
def town(built: tuple[TwoHabitats, CommandResult]) -> Iterator[TwoHabitats]:
    """The town, both habitats up to date."""
    done = built[0].project.doit()
    assert done.code == 0, done.out
    yield built[0]
    built[0].begin()


def containers(name: str) -> list[str]:
    """All containers that have to do with a habitat."""
    rows = docker("container", "ls", "--all", "--format", "{{.Names}}", "--filter", f"label=habitat.name={name}")
    return sorted(rows.split())


def statuses(done: CommandResult) -> dict[str, str]:
    """Task to letter, from `doit list --status`."""
    return {row.split()[1]: row.split()[0] for row in done.out.splitlines()}


# Building several


def test_bare_doit_builds_every_habitat_and_starts_none(built: tuple[TwoHabitats, CommandResult]) -> None:
    town, done = built
    assert done.code == 0, done.out
    for name in town.names:
        assert {"12-final", "final"} <= set(snapshots(name))
        assert left_containers(name) == []
        assert containers(name) == []
        assert f"{name} ready in " in done
    again = town.project.doit()
    assert again.code == 0
    assert [line.split(" in ")[0] for line in again.out.splitlines() if "ready" in line] == [
        f"{name} │ ✅ {name} ready" for name in sorted(town.names)
    ]


def test_output_of_two_habitats_names_habitat_in_each_line(built: tuple[TwoHabitats, CommandResult]) -> None:
    town, done = built
    rows = [line for line in done.out.splitlines() if line.strip()]
    assert all(row.startswith(tuple(f"{name} │ " for name in town.names)) for row in rows), done.out
    for name in town.names:
        own = [row.partition(" │ ")[2] for row in rows if row.startswith(name)]
        assert [row.split()[2] for row in own if "✅" in row and row.startswith("[")] == NAMES


def test_output_percentages_grow_to_100(built: tuple[TwoHabitats, CommandResult]) -> None:
    town, done = built
    for name in town.names:
        values = [int(value) for value in re.findall(rf"^{name} │ \[(\d+)%\]", done.out, re.MULTILINE)]
        assert len(values) == 2 * len(NAMES)
        assert values == sorted(values)
        assert values[-1] == 100


def test_output_in_pipe_has_no_escape_sequences(built: tuple[TwoHabitats, CommandResult]) -> None:
    town, done = built
    assert "\x1b" not in done.out
    assert "\r" not in done.out
    for argv in (["list"], ["info", f"final:{town.first}"], [f"setup:{town.first}"], ["nosuch"]):
        assert "\x1b" not in town.project.doit(*argv, env={"TERM": "xterm-256color"}).out


# list


def test_list_shows_phases_and_starts_in_order_without_engine(project: Project) -> None:
    for name in ("town", "alone"):
        project.habitat(name, f"description: |\n  this is\n  {name}\nbase_image: nothing:1")
    done = project.doit("list", env=NOWHERE)
    assert done.code == 0, done.out
    *listed, gap, more = done.out.splitlines()
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
    done = project.doit("list", "--all", env=NOWHERE)
    assert done.code == 0, done.out
    listed = {row.split(maxsplit=1)[0] for row in done.out.splitlines()}
    assert {verb.replace("NAME", name) for verb in OTHERS for name in ("town", "alone")} <= listed
    assert "shows every task" not in done


def test_list_with_dockerfile_habitat_shows_dockerfile_phase(project: Project) -> None:
    project.write("habitats/old/Dockerfile", "FROM nothing:1\n")
    done = project.doit("list", env=NOWHERE)
    assert done.code == 0, done.out
    assert done.out.split()[0] == "dockerfile"


def test_list_status_shows_up_to_date_phases(project: Project, busybox: str, name: str) -> None:
    project.habitat(name, f"base_image: {busybox}\nenv: [USER=root]")
    tasks = [*NAMES, *(f"{phase}:{name}" for phase in NAMES), f"start:{name}"]
    assert statuses(project.doit("list", "--all", "--status")) == dict.fromkeys(tasks, "R")
    assert project.doit(f"users:{name}").code == 0
    done = {task for phase in ("base", "users") for task in (phase, f"{phase}:{name}")}
    assert statuses(project.doit("list", "--all", "--status")) == {task: "U" if task in done else "R" for task in tasks}


def test_list_status_after_build_shows_all_up_to_date(town: TwoHabitats) -> None:
    assert set(statuses(town.project.doit("list", "--all", "--status")).values()) == {"U"}


# info


def test_info_shows_reason_why_phase_runs(project: Project, busybox: str, name: str) -> None:
    def config(user: str) -> None:
        project.habitat(name, f"base_image: {busybox}\nenv: [USER={user}]")

    def info(phase: str) -> CommandResult:
        return project.doit("info", f"{phase}:{name}")

    def reasons(done: CommandResult) -> list[str]:
        return [row[3:] for row in done.out.splitlines() if row.startswith(" * ")]

    config("root")
    assert project.doit(f"users:{name}").code == 0
    done = info("users")
    assert done.code == 0
    assert "status     : up-to-date" in done
    assert f".stamps/{name}/2-users.json" in done

    done = info("env")
    assert done.code == 1
    assert len(reasons(done)) == 1
    assert f"habitat-{name}:3-env" in reasons(done)[0]

    config("other")
    done = info("users")
    assert done.code == 1
    assert reasons(done) == ["env.USER: root → other"]
    config("root")

    assert project.doit("forget", f"users:{name}").code == 0
    done = info("users")
    assert done.code == 1
    assert reasons(done) == ["it was forgotten (doit forget)"]
    assert info("base").code == 0

    docker("image", "rm", f"habitat-{name}:2-users", f"habitat-{name}:1-base")
    done = info("base")
    assert done.code == 1
    assert len(reasons(done)) == 1
    assert f"habitat-{name}:1-base" in reasons(done)[0]
    assert "gone" in reasons(done)[0]


def test_info_shows_no_internal_reason_of_doit(town: TwoHabitats) -> None:
    town.save(town.first, setup="touch /other")
    done = town.project.doit("info", f"setup:{town.first}")
    assert done.code == 1
    assert "→ touch /other" in done
    assert len([row for row in done.out.splitlines() if row.startswith(" * ")]) == 1, done.out


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
def test_unknown_task_error_suggests_nearest_name(project: Project, argv: tuple[str, ...]) -> None:
    project.habitat("hello", "base_image: nothing:1")
    done = project.doit(*argv, env=NOWHERE)
    assert done.code == 3
    assert done.out.splitlines() == ["ERROR: there is no task 'setpu:hello': did you mean 'setup:hello'?"]


# A broken habitat


def test_broken_habitat_does_not_stop_other_habitats(town: TwoHabitats) -> None:
    broken = town.project.habitat("broken", "base_image: x\nfils: []")
    try:
        error = "habitats/broken/config.yaml:2: unknown key 'fils': did you mean 'files'?"
        listed = town.project.doit("list", env=NOWHERE)
        assert listed.code == 0
        assert [row.split(maxsplit=1)[1] for row in listed.out.splitlines() if row.startswith(f"start:{broken}")] == [
            f"broken: {error}"
        ]
        town.save(town.first, command="goodbye")
        done = town.project.doit()
        assert done.code != 0
        assert "Traceback" not in done
        rows = [row.split("│", 1)[-1].strip() for row in done.out.splitlines()]
        assert [row for row in rows if "❌" in row] == [f"❌ base:{broken}: {error}"]
        for name in town.names:
            assert any(row.startswith(f"✅ {name} ready in ") for row in rows), done.out
    finally:
        (town.project.root / "habitats/broken/config.yaml").unlink()
        (town.project.root / "habitats/broken").rmdir()


# Output


def test_output_lines_appear_immediately(town: TwoHabitats) -> None:
    town.save(town.first, setup=f"echo gate three; {WAIT}; echo behind the gate", more="    debug: true\n")
    gate = town.close_gate()
    with RunningDoit(town.project, f"setup:{town.first}") as running:
        running.wait_for("    gate three\n")
        assert "behind" not in running.out
        assert "[66%] Running setup commands...\n" in running.out
        gate.unlink()
        done = running.end()
    assert done.code == 0
    assert "    behind the gate\n" in done


# Told to stop


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_signal_stops_build_and_removes_container(town: TwoHabitats, number: signal.Signals, code: int) -> None:
    town.save(town.first, setup=f"echo gate {number}; {WAIT}")
    town.close_gate()
    with RunningDoit(town.project, f"final:{town.first}") as running:
        town.wait_in_setup(f"gate {number}", town.first)
        running.process.send_signal(number)
        done = running.end(10)
    assert done.code == code
    assert done.out.rstrip().splitlines()[-1].startswith(f"stopped in setup:{town.first}: ")
    assert "Traceback" not in done
    assert "❌" not in done
    assert left_containers(town.first) == []


def test_signal_stops_parallel_builds_and_removes_containers(town: TwoHabitats) -> None:
    for name in town.names:
        town.save(name, setup=f"echo gate four; {WAIT}")
    town.close_gate()
    with RunningDoit(town.project, "-n", "2") as running:
        town.wait_in_setup("gate four", *town.names)
        running.process.send_signal(signal.SIGINT)
        done = running.end(20)
    assert done.code == 130, done.out
    assert "Traceback" not in done
    assert [line for line in done.out.splitlines() if line.startswith("stopped in ")], done.out
    for name in town.names:
        assert f"setup:{name}" in done.out.rstrip().splitlines()[-1]
        assert left_containers(name) == []


# Stamps that are not as they should be


def test_stamps_folder_replaced_by_file_is_named_in_error(project: Project, busybox: str, name: str) -> None:
    project.habitat(name, f"base_image: {busybox}")
    (project.root / ".stamps").rmdir()
    project.write(".stamps", "in the way")
    done = project.doit(f"final:{name}")
    assert done.code not in (0, 3)
    assert "Traceback" not in done
    assert ".stamps" in done
    assert len([line for line in done.out.splitlines() if "can't be" in line]) == 1, "it is told once"
    assert snapshots(name) == {}
    assert project.doit("list").code == 0
    for argv in (("forget", f"base:{name}"), ("info", f"base:{name}"), ("clean",)):
        assert "Traceback" not in project.doit(*argv)


@pytest.mark.parametrize("content", ["", "[]", "\x00\xff"])
def test_stamp_unreadable_gives_warning_and_builds_nothing(town: TwoHabitats, content: str) -> None:
    folder = town.project.root / ".stamps" / town.first
    (folder / "7-setup.stamp").write_bytes(content.encode("latin-1"))
    done = town.project.doit(f"final:{town.first}")
    assert done.code == 0
    assert done.ran == []
    warnings = [line for line in done.out.splitlines() if line.startswith("⚠ ")]
    assert len(warnings) == 1
    assert warnings[0].startswith(f"⚠ .stamps/{town.first}/7-setup.stamp: ")
    again = town.project.doit(f"final:{town.first}")
    assert "⚠" not in again, "it was written anew"


@pytest.mark.parametrize("values", ["text", {"hash": 7}])
def test_stamp_of_other_shape_does_not_crash(town: TwoHabitats, values: object) -> None:
    """What was verified says the stamp alone as long as final is not there."""
    path = town.project.root / ".stamps" / town.first / "11-test.stamp"
    path.write_text(json.dumps({"_values_:": values, "deps:": []}))
    town.save(town.first, command="others")
    try:
        done = town.project.doit(f"final:{town.first}")
    finally:
        path.unlink()
    assert done.code == 0, done.out
    assert done.ran == ["test", "final"]


# clean. These take the town down; the fixture builds it again for each.


def test_clean_of_phase_removes_its_and_later_snapshots(town: TwoHabitats) -> None:
    other = snapshots(town.names[1])
    done = town.project.doit("clean", f"setup:{town.first}")
    assert done.code == 0, done.out
    assert sorted(snapshots(town.first)) == ["1-base", "2-users", "3-env", "4-workdir", "5-habitat", "6-files"]
    assert snapshots(town.names[1]) == other
    left = {path.name.partition("-")[2] for path in (town.project.root / ".stamps" / town.first).glob("*-*.*")}
    assert {name.partition(".")[0] for name in left} == set(NAMES) - set(AFTER_FILES)
    assert "<function" not in done
    assert "Python" not in done, "a person is told what was removed"
    assert town.project.doit(f"final:{town.first}").ran == AFTER_FILES


def test_clean_without_engine_is_one_line_error(project: Project) -> None:
    project.habitat("hello", "base_image: nothing:1")
    for argv in (("clean",), ("clean", "setup:hello")):
        done = project.doit(*argv, env=NOWHERE)
        assert len(done.out.splitlines()) == 1, done.out
        assert "no Docker engine answers" in done
        assert done.code != 0


def test_clean_dry_run_removes_nothing(town: TwoHabitats) -> None:
    before = [snapshots(name) for name in town.names]
    files = sorted((town.project.root / ".stamps").rglob("*"))
    for argv in (("clean", "--dry-run"), ("clean", "--dry-run", f"setup:{town.first}")):
        assert town.project.doit(*argv).code == 0
    assert [snapshots(name) for name in town.names] == before
    assert sorted((town.project.root / ".stamps").rglob("*")) == files


@pytest.mark.parametrize("task", ["", "setup"])
def test_clean_during_build_lets_build_succeed(town: TwoHabitats, task: str) -> None:
    """It may wait for the other run, or say that there is one."""
    word = f"gate clean {task}"
    town.save(town.first, setup=f"echo {word}; {WAIT}")
    gate = town.close_gate()
    with RunningDoit(town.project, f"setup:{town.first}") as build:
        town.wait_in_setup(word.strip(), town.first)
        with RunningDoit(town.project, "clean", *([f"{task}:{town.first}"] if task else [])) as clean:
            clean.settle()
            gate.unlink()
            assert build.end().code == 0, build.out
            assert "Traceback" not in clean.end()


def test_clean_removes_all_built_images_and_no_started_container(town: TwoHabitats) -> None:
    started = town.project.doit(f"start:{town.first}")
    assert started.code == 0, started.out
    assert "hello" in started
    plain = f"{town.first}-plain"
    running = f"{town.first}-running"
    image = f"habitat-{town.first}:final"
    docker("run", "--name", plain, image, "sh", "-c", "echo work >/mine")
    docker("run", "--detach", "--name", running, image, "sleep", "600")
    everything = set(docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}").split())
    done = town.project.doit("clean")
    assert done.code == 0, done.out
    for name in town.names:
        assert snapshots(name) == {}
        assert not (town.project.root / ".stamps" / name).exists()
        assert f"{name}: removed 10 images" in done
    assert containers(town.first) == sorted([plain, running, f"habitat-{town.first}"])
    for container in containers(town.first):
        assert f" {container}" in done.out.partition("docker rm -f")[2]
    left = set(docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}").split())
    assert town.base in left
    ours = tuple(f"habitat-{name}:" for name in town.names)
    assert {tag for tag in everything - left if tag.startswith("habitat-habtest")} >= {
        tag for tag in everything if tag.startswith(ours)
    }
    assert docker("exec", running, "echo", "alive") == "alive"
    saved = f"habitat-{town.first}:saved"
    docker("commit", plain, saved)
    assert docker("run", "--rm", saved, "cat", "/mine") == "work"
