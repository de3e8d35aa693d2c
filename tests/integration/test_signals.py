"""Runs that are stopped, by a signal or by a reader that has enough: what they leave and print, and how soon."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from conftest import (
    Project,
    RunningDoit,
    build_containers,
    clear,
    docker,
    failed,
    fresh_name,
    left_containers,
    untagged,
    wait_until,
)
from kill_points import CLOSING, DODO, MARK

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import CommandResult

    from phases.core.engine.docker_api.client import DockerEngine

pytestmark = pytest.mark.engine

CODES = {"SIGINT": 130, "SIGTERM": 143, "SIGHUP": 129}

#: Seconds from the signal until nothing is left of the build.
SOON = 2

CONFIG = """
    env: [USER=root, SYSTEM_PATH=, SHARED_PATH=, HABITAT_PATH=]
    setup:
      root: ["echo begun; sleep {seconds}; echo done >/mark"]
"""

#: Where the signal comes, and the first phase that the next run builds.
POINTS = [
    ("dockerfile:inside", "SIGINT", "dockerfile"),
    ("dockerfile:inside", "SIGTERM", "dockerfile"),
    ("dockerfile:commit in flight", "SIGTERM", "dockerfile"),
    ("dockerfile:create in flight", "SIGINT", "dockerfile"),
    ("dockerfile:create in flight", "SIGHUP", "dockerfile"),
    ("workdir:commit in flight", "SIGINT", "workdir"),
    ("files:announced", "SIGTERM", "files"),
    ("dockerfile:made", "SIGHUP", "dockerfile"),
    ("setup:inside", "SIGINT", "setup"),
    ("tools:tagged", "SIGINT", "verify"),
    ("tools:stamped", "SIGHUP", "verify"),
]


class SlowBuildProject:
    """A project with a habitat that has a Dockerfile, and whose setup lasts."""

    def __init__(self, root: Path, base: str) -> None:
        self.project = Project(root)
        self.project.write("dodo.py", DODO)
        self.base = base
        self.names: list[str] = []

    def add_habitat(self, seconds: float = 0.5) -> str:
        name = fresh_name()
        self.names.append(name)
        self.project.habitat(name, CONFIG.format(seconds=seconds))
        self.project.write(f"habitats/{name}/Dockerfile", f"FROM {self.base}\nRUN echo {name} && sleep 0.5\n")
        return name

    def env(self, **more: str) -> dict[str, str]:
        return {"PYTHONPATH": str(Path(__file__).parent.parent), **more}

    def doit(self, *argv: str, **env: str) -> CommandResult:
        return self.project.doit(*argv, env=self.env(**env), timeout=60)

    def assert_nothing_is_left(self) -> None:
        for name in self.names:
            assert left_containers(name) == []
            assert failed(name) == {}
            assert f"habitat-{name}:0-dockerfile-build" not in docker(
                "image", "ls", "--format", "{{.Repository}}:{{.Tag}}"
            )


@pytest.fixture
def slow_project(engine: DockerEngine, busybox: str, tmp_path: Path) -> Iterator[SlowBuildProject]:
    slow_project = SlowBuildProject(tmp_path, busybox)
    yield slow_project
    for name in slow_project.names:
        clear(engine, name)


def assert_stopped(result: CommandResult, code: int) -> str:
    """It ended in order. Returns the tasks it was in."""
    assert result.code == code, result.out
    assert "Traceback" not in result
    assert "❌" not in result
    (line,) = [line for line in result.out.splitlines() if line.startswith("stopped")]
    assert result.out.rstrip().splitlines()[-1] == line
    assert line.endswith(": finished phases are kept, the next run continues from there")
    return line.partition(":")[0] if " in " not in line else line.removeprefix("stopped in ").rpartition(": ")[0]


@pytest.mark.guarantee("signal-ends-build")
@pytest.mark.parametrize(("where", "number", "first"), POINTS)
def test_signal_at_any_point_of_build_leaves_nothing(
    slow_project: SlowBuildProject, where: str, number: str, first: str
) -> None:
    name = slow_project.add_habitat()
    result = slow_project.doit(f"final:{name}", CRASH=where, SIGNAL=number)
    took = time.time() - float((slow_project.project.root / MARK).read_text())
    assert_stopped(result, CODES[number])
    slow_project.assert_nothing_is_left()
    assert took < SOON, result.out
    # It goes on by itself with the phase that was ended; those after it are built as in any run.
    again = slow_project.doit(f"{first}:{name}")
    assert again.code == 0, again.out
    assert again.ran == [first]
    assert "waiting for another run" not in again
    assert untagged(name) == []


@pytest.mark.guarantee("signal-ends-build")
def test_signal_stops_run_waiting_for_lock_at_once(slow_project: SlowBuildProject) -> None:
    name = slow_project.add_habitat(seconds=5)
    slow_project.project.write("dodo.py", (Path(__file__).parents[2] / "dodo.py").read_text())
    with RunningDoit(slow_project.project, f"final:{name}") as builder:
        builder.wait_for("Running setup commands")
        for number, code in CODES.items():
            with RunningDoit(slow_project.project, f"final:{name}") as waiting:
                waiting.wait_for("waiting for another run")
                waiting.process.send_signal(signal.Signals[number])
                assert_stopped(waiting.end(SOON), code)
        assert build_containers(name)
        assert builder.end().code == 0, builder.out


@pytest.mark.guarantee("signal-ends-build")
@pytest.mark.parametrize(("seconds", "number"), [(0.0, "SIGINT"), (0.3, "SIGTERM"), (1.0, "SIGHUP")])
def test_signal_stops_four_parallel_builds(slow_project: SlowBuildProject, number: str, seconds: float) -> None:
    names = [slow_project.add_habitat() for _ in range(4)]
    slow_project.project.write("dodo.py", (Path(__file__).parents[2] / "dodo.py").read_text())
    with RunningDoit(slow_project.project, "build", "-n", "4") as running:
        running.wait_for("✅ dockerfile")
        time.sleep(seconds)
        running.process.send_signal(signal.Signals[number])
        began = time.monotonic()
        result = running.end(20)
        took = time.monotonic() - began
    at = assert_stopped(result, CODES[number])
    assert any(name in at for name in names)
    assert took < SOON, result.out
    assert [left_containers(name) for name in names] == [[]] * 4
    # A `docker build` of another thread ends with the process, and may have made its image till then.
    again = slow_project.doit(
        "-n", "2", *(f"dockerfile:{name}" for name in names), *(f"users:{name}" for name in names)
    )
    assert again.code == 0, again.out
    slow_project.assert_nothing_is_left()


@pytest.mark.guarantee("signal-ends-build")
def test_second_ctrl_c_skips_cleanup(slow_project: SlowBuildProject) -> None:
    name = slow_project.add_habitat()
    with subprocess.Popen(
        (sys.executable, "-m", "doit", f"final:{name}"),
        cwd=slow_project.project.root,
        env={**os.environ, **slow_project.env(CRASH="setup:inside", SIGNAL="SIGINT", SLOW="1")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as run:
        wait_until((slow_project.project.root / CLOSING).exists)
        run.send_signal(signal.SIGINT)
        out, _ = run.communicate(timeout=SOON)
    assert run.returncode == 130
    assert "Traceback" not in out
    assert out.splitlines()[-1] == "stopped at once: the next run removes what is left of the build"
    assert slow_project.doit(f"setup:{name}").ran == ["setup"]
    slow_project.assert_nothing_is_left()


def test_cleanup_that_hangs_is_ended_after_timeout(slow_project: SlowBuildProject) -> None:
    """Nobody sends SIGTERM twice."""
    name = slow_project.add_habitat()
    result = slow_project.doit(f"final:{name}", CRASH="setup:inside", SIGNAL="SIGTERM", SLOW="1", PATIENCE="1")
    assert result.code == 143, result.out
    assert "Traceback" not in result
    assert result.out.splitlines()[-1] == "stopped at once: the next run removes what is left of the build"
    assert slow_project.doit(f"setup:{name}").ran == ["setup"]
    slow_project.assert_nothing_is_left()


@pytest.mark.guarantee("closed-terminal-stops-container")
def test_closed_terminal_leaves_no_container_running(slow_project: SlowBuildProject) -> None:
    """It hangs up more than once: on its own, and by the shell in it that ends."""
    name = fresh_name()
    slow_project.names.append(name)
    slow_project.project.habitat(name, f"base_image: {slow_project.base}\n")
    assert slow_project.doit(f"final:{name}").code == 0
    with RunningDoit(
        slow_project.project, f"start:{name}", "--cmd", "echo in there; sleep 100", env=slow_project.env()
    ) as running:
        running.wait_for("in there")
        for _ in range(3):
            running.process.send_signal(signal.SIGHUP)
            time.sleep(0.02)
        result = running.end()
    assert result.code == 129, result.out
    assert docker("container", "ls", "--quiet", "--filter", f"name=habitat-{name}") == ""


def test_signal_during_container_start_leaves_none_running(slow_project: SlowBuildProject) -> None:
    name = slow_project.add_habitat()
    assert slow_project.doit(f"final:{name}").code == 0
    for point in ("create in flight", "made", "started"):
        result = slow_project.doit(f"start:{name}", CRASH=f"start:{point}", SIGNAL="SIGTERM")
        assert_stopped(result, 143)
        assert docker("container", "ls", "--quiet", "--filter", f"name=habitat-{name}") == ""
        again = slow_project.doit(f"start:{name}")
        assert again.code == 0, again.out
        assert "goes on" not in again
        docker("container", "rm", f"habitat-{name}")


# Output that is lost


def shell(slow_project: SlowBuildProject, command: str) -> CommandResult:
    """A command line of a person's, its exit code that of doit."""
    program = f"{sys.executable} -m doit"
    script = f"set -o pipefail; {command.replace('doit', program)}"
    return slow_project.project.run("bash", "-c", script, env=slow_project.env())


@pytest.mark.parametrize("argv", ["list", "info setup:other", "forget setup:other", "list --all", "final:other"])
@pytest.mark.parametrize(
    ("to", "message"), [(">/dev/full", ["ERROR"]), (">&-", ["ERROR"]), ("| true", []), (">/dev/full 2>&-", [])]
)
def test_lost_output_is_one_line_error_and_fails(
    slow_project: SlowBuildProject, argv: str, to: str, message: list[str]
) -> None:
    slow_project.project.habitat("other", "base_image: nowhere:1")
    result = slow_project.project.run(
        "bash",
        "-c",
        f"set -o pipefail; {sys.executable} -m doit {argv} {to}",
        env={**slow_project.env(), "DOCKER_HOST": "unix:///nowhere/docker.sock"},
    )
    assert result.code == 1, result.out
    assert [line.partition(": ")[0] for line in result.out.splitlines()] == message


@pytest.mark.parametrize("way", ["", "-n 2"])
def test_build_with_closed_pipe_ends_and_leaves_nothing(slow_project: SlowBuildProject, way: str) -> None:
    name = slow_project.add_habitat()
    result = shell(slow_project, f"doit {way} final:{name} | head -n 4")
    assert result.code == 1
    assert len(result.out.splitlines()) == 4, result.out
    slow_project.assert_nothing_is_left()
    again = slow_project.doit(f"final:{name}")
    assert again.code == 0, again.out
    assert untagged(name) == []


def test_start_with_closed_pipe_ends_and_stops_container(slow_project: SlowBuildProject) -> None:
    name = slow_project.add_habitat()
    slow_project.project.habitat(
        name, CONFIG.format(seconds=0) + "    entry: {command: 'while echo word; do sleep 0.1; done'}\n"
    )
    assert slow_project.doit(f"final:{name}").code == 0
    result = shell(slow_project, f"doit start:{name} | grep -m 1 word")
    assert result.code == 1
    assert result.out == "word\n"
    assert docker("container", "inspect", "--format", "{{.State.Status}}", f"habitat-{name}") == "exited"
