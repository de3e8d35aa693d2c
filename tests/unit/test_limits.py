"""Limits of a habitat and of a build: what the engine is asked for, and the notice when one is reached."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from unit_helpers import DemoProject, FakeTerminal, built_demo, load, make_user, write

from phases.core.engine.confinement.restrictions import Restrictions
from phases.core.engine.docker_api import payloads
from phases.core.errors import CommandFailed, ConfigError, StartError
from phases.core.runtime import exec as runtime_exec
from phases.core.runtime import start as runtime_start
from phases.core.runtime.new_container import restrictions_label
from phases.p02_users import SET_UID

if TYPE_CHECKING:
    from pathlib import Path

    from fake_engine import Command


def host_config(restrictions: Restrictions) -> dict[str, object]:
    body = payloads.container("image", ("x",), {}, {}, (), "", restrictions, ())
    config: dict[str, object] = body["HostConfig"]
    return config


def test_memory_limit_allows_no_swap() -> None:
    config = host_config(Restrictions(memory=1 << 30))
    assert (config["Memory"], config["MemorySwap"]) == (1 << 30, 1 << 30)
    assert host_config(Restrictions())["MemorySwap"] == 0


def test_shm_size_is_passed_only_if_set() -> None:
    assert host_config(Restrictions(shm=1 << 20))["ShmSize"] == 1 << 20
    assert "ShmSize" not in host_config(Restrictions())


def test_shm_size_changed_replaces_container(tmp_path: Path) -> None:
    demo = built_demo(tmp_path, "entry: {command: 'true'}\n")
    runtime_start.start(demo.run_anew(), "demo", FakeTerminal())
    before = demo.container().id
    write(demo.root, "habitats/demo/config.yaml", "base_image: base:1\nentry: {command: 'true', shm_size: 1.5g}\n")
    assert demo.build() == []
    runtime_start.start(demo.run_anew(), "demo", FakeTerminal())
    assert demo.notices() == ["entry.shm_size changed: the container is made again; nothing has changed in it"]
    assert demo.container().id != before
    assert demo.engine._container("habitat-demo").restrictions.shm == 1610612736


def test_label_of_habitat_without_shm_size_is_as_before(tmp_path: Path) -> None:
    """Or every container of an earlier version would be replaced."""
    habitat = load(tmp_path, "base_image: b\nentry: {limits: {memory: 512m}}\n")
    assert restrictions_label(habitat) == "privileges=0 network=1 memory=5.36871e+08 cpus=0 pids=4096"


@pytest.mark.parametrize("size", ["much", "-1g", "1 banana"])
def test_shm_size_malformed_is_refused_with_line(tmp_path: Path, size: str) -> None:
    with pytest.raises(ConfigError, match=rf"config.yaml:3: '{size}' is not a size: write it like 512m or 4g"):
        load(tmp_path, f"base_image: b\nentry:\n  shm_size: {size}\n")


# The memory limit is reached

LIMITED = "entry: {command: 'exit CODE', limits: {memory: 512m}}\n"
TEXT = "a process was killed at the memory limit, entry.limits.memory: 512m"


def run(tmp_path: Path, code: int, kills: int, text: str = LIMITED) -> list[str]:
    """Return the notices about a start whose command ends with `code`."""
    demo = built_demo(tmp_path, text.replace("CODE", str(code)))
    runtime_start.start_detached(demo.run_anew(), "demo")
    demo.engine.stop("habitat-demo")
    demo.engine._container("habitat-demo").memory_kills = kills
    assert runtime_start.start(demo.run_anew(), "demo", FakeTerminal()) == code
    return demo.notices()


@pytest.mark.guarantee("reached-memory-limit-named")
@pytest.mark.parametrize("code", [137, 2])
def test_command_that_failed_at_memory_limit_names_limit(tmp_path: Path, code: int) -> None:
    assert run(tmp_path, code, 1) == [TEXT]


@pytest.mark.parametrize(("code", "kills"), [(0, 1), (137, 0), (2, 0)])
def test_command_that_ended_otherwise_names_no_limit(tmp_path: Path, code: int, kills: int) -> None:
    assert run(tmp_path, code, kills) == []


def test_command_without_memory_limit_asks_nothing(tmp_path: Path) -> None:
    assert run(tmp_path, 137, 1, "entry: {command: 'exit CODE'}\n") == []


@pytest.mark.parametrize(("code", "expected"), [(137, [TEXT]), (2, [])])
def test_command_in_running_habitat_names_limit_only_if_it_was_killed(
    tmp_path: Path, code: int, expected: list[str]
) -> None:
    demo = built_demo(tmp_path, LIMITED)
    runtime_start.start_detached(demo.run_anew(), "demo")
    demo.engine._container("habitat-demo").memory_kills = 1
    assert runtime_exec.execute(demo.run_anew(), "demo", ("sh", "-c", f"exit {code}"), FakeTerminal()) == code
    assert demo.notices() == expected


@pytest.mark.guarantee("reached-memory-limit-named")
def test_init_command_killed_at_memory_limit_names_limit(tmp_path: Path) -> None:
    demo = built_demo(tmp_path, "entry: {init_command: 'exit 137', limits: {memory: 512m}, command: x}\n")
    with pytest.raises(StartError):
        runtime_start.start(demo.run_anew(), "demo", FakeTerminal())
    demo.engine._container("habitat-demo").out_of_memory = True
    with pytest.raises(StartError, match=rf"the init command ended: exit 137 \({TEXT}\): raise the limit; see docker"):
        runtime_start.start(demo.run_anew(), "demo", FakeTerminal())


@pytest.mark.guarantee("reached-memory-limit-named")
def test_command_of_build_killed_at_memory_limit_names_limit(tmp_path: Path) -> None:
    demo = DemoProject(tmp_path, "base_image: base:1\nbuild: {limits: {memory: 1g}}\nsetup: {root: [make]}\n")

    def run_out(command: Command) -> tuple[int, str] | None:
        if command.script.strip() != "make":
            return None
        command.container.memory_kills = 1
        return 2, "cc1: Killed"

    demo.engine.on_execute = run_out
    write(
        demo.root,
        "habitats/demo/config.yaml",
        (demo.root / "habitats/demo/config.yaml").read_text() + "env: [USER=root]\n",
    )
    with pytest.raises(
        CommandFailed, match=r"\(a process was killed at the memory limit, build.limits.memory: 1g\): raise"
    ):
        demo.build()


TWO_COMMANDS = """\
base_image: base:1
env: [USER=root]
build: {limits: {memory: 1g}}
hooks: [{commands: [make || true], after: workdir}]
setup: {root: [FIRST, tpyo]}
"""


@pytest.mark.parametrize("first", ["make || true", "'true'"])
def test_command_of_build_that_fails_after_an_earlier_kill_names_no_limit(tmp_path: Path, first: str) -> None:
    """Whether the earlier command is of the same phase, or of one before, which used the same container."""
    demo = DemoProject(tmp_path, TWO_COMMANDS.replace("FIRST", first))

    def fail(command: Command) -> tuple[int, str] | None:
        if command.script.strip() == "make || true":
            command.container.memory_kills += 1
            return 0, ""
        return (127, "sh: tpyo: not found") if command.script.strip() == "tpyo" else None

    demo.engine.on_execute = fail
    with pytest.raises(CommandFailed, match=r"ended with exit code 127: fix it, then run the same command; log"):
        demo.build()


def test_command_of_build_killed_after_an_earlier_kill_names_limit(tmp_path: Path) -> None:
    demo = DemoProject(tmp_path, TWO_COMMANDS.replace("FIRST", "make || true"))

    def fail(command: Command) -> tuple[int, str] | None:
        if command.script.strip() not in ("make || true", "tpyo"):
            return None
        command.container.memory_kills += 1
        return 137 * (command.script.strip() == "tpyo"), ""

    demo.engine.on_execute = fail
    with pytest.raises(CommandFailed, match=r"\(a process was killed at the memory limit, build.limits.memory: 1g\): "):
        demo.build()


# uid: host as root


def test_uid_host_as_root_is_reported_in_build_and_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.getuid", lambda: 0)
    monkeypatch.delenv("SUDO_UID", raising=False)
    demo = DemoProject(tmp_path, "base_image: base:1\nuid: host\nentry: {command: 'true'}\n")
    demo.build()
    built = demo.notices()
    runtime_start.start(demo.run_anew(), "demo", FakeTerminal())
    assert built[0] == demo.notices()[0]
    assert built[0].startswith("habitats/demo/config.yaml:2: uid: host has no effect, since you are root: agent keeps")


def test_uid_change_of_many_files_is_announced_with_its_line(tmp_path: Path) -> None:
    line = "40000 files in /home/agent (312 MB) get another owner"

    def number(command: Command) -> tuple[int, str] | None:
        return (0, f"{line}\n") if command.script == SET_UID.text else make_user(command)

    demo = DemoProject(tmp_path, "base_image: base:1\nuid: 1234\n")
    demo.engine.on_execute = number
    demo.build()
    assert demo.notices() == [f"habitats/demo/config.yaml:2: {line}"]
