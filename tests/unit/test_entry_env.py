"""The variables of `entry.env`: in all that runs in a habitat, and in no build."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from unit_helpers import DemoProject, FakeTerminal, built_demo, load, write

from phases.core.errors import ConfigError, HabitatError
from phases.core.runtime import exec as runtime_exec
from phases.core.runtime import start as runtime_start

if TYPE_CHECKING:
    from pathlib import Path

ENV = "entry: {env: [GREETING=hello, 'AT=$WORKDIR/x', 'CONFIG=$HOME/.x', 'PATH=/opt/x:$PATH'], command: 'true'}\n"


def env_of_start(demo: DemoProject) -> dict[str, str]:
    runtime_start.start(demo.run_anew(), "demo", FakeTerminal())
    return dict(demo.engine.commands[-1].env)


def set_config(demo: DemoProject, text: str) -> None:
    write(demo.root, "habitats/demo/config.yaml", f"base_image: base:1\n{text}")


@pytest.mark.guarantee("entry-env-is-in-no-build")
def test_entry_env_changed_builds_nothing_and_keeps_container(tmp_path: Path) -> None:
    demo = built_demo(tmp_path, "entry: {command: 'true'}\n")
    env_of_start(demo)
    before = demo.container()
    set_config(demo, ENV)
    assert demo.build() == []
    assert env_of_start(demo)["GREETING"] == "hello"
    set_config(demo, ENV.replace("hello", "good day"))
    assert demo.build() == []
    assert env_of_start(demo)["GREETING"] == "good day"
    assert demo.container().id == before.id
    assert all("GREETING" not in command.env for command in demo.engine.commands if "echo" in str(command.argv))


def test_entry_env_reference_is_value_in_running_habitat(tmp_path: Path) -> None:
    env = env_of_start(built_demo(tmp_path, ENV))
    assert env["AT"] == "/workspace/x"
    assert env["CONFIG"] == "/home/agent/.x"
    assert env["PATH"].startswith("/opt/x:/habitat/system/tools/bin:")
    assert env["PATH"].split(":").count("/home/agent/.local/bin") == 1


def test_entry_env_own_path_keeps_local_bin(tmp_path: Path) -> None:
    env = env_of_start(built_demo(tmp_path, "entry: {env: ['PATH=/x:/usr/bin'], command: 'true'}\n"))
    assert env["PATH"] == "/x:/home/agent/.local/bin:/usr/bin"


def test_entry_env_reference_to_variable_of_env_is_that_of_image(tmp_path: Path) -> None:
    config = "env: ['A=one', 'PATH=/tools:$PATH']\nentry: {env: ['A=$A two', 'P=$PATH'], command: x}\n"
    demo = built_demo(tmp_path, config)
    env = env_of_start(demo)
    assert env["A"] == "one two"
    assert env["P"].split(":").count("/tools") == 1


def test_entry_env_exec_and_shell_have_it(tmp_path: Path) -> None:
    demo = built_demo(tmp_path, ENV)
    runtime_exec.execute(demo.run_anew(), "demo", ("env",), FakeTerminal(piped=True))
    assert demo.engine.commands[-1].env["GREETING"] == "hello"
    runtime_exec.shell(demo.run_anew(), "demo", FakeTerminal(piped=True), at="setup")
    assert demo.engine.commands[-1].env["GREETING"] == "hello"


def test_entry_env_unknown_variable_is_error_with_line(tmp_path: Path) -> None:
    demo = built_demo(tmp_path, "entry:\n  command: x\n  env:\n    - A=$NOWHERE\n")
    with pytest.raises(HabitatError) as caught:
        env_of_start(demo)
    assert str(caught.value).startswith("habitats/demo/config.yaml:5: ${NOWHERE} is set neither")


def test_entry_env_changed_with_init_command_replaces_container(tmp_path: Path) -> None:
    """The main process has the variables that its container was created with."""
    init = "entry: {init_command: sleep 1000, env: [A=%s, LD_PRELOAD=/x.so, GIT_AUTHOR_NAME=%s], command: 'true'}\n"
    demo = built_demo(tmp_path, init % ("1", "x"))
    assert env_of_start(demo)["LD_PRELOAD"] == "/x.so"
    before = demo.container().id
    created = demo.engine._containers[before].env
    assert created["A"] == "1"
    assert not {"LD_PRELOAD", "GIT_AUTHOR_NAME"} & created.keys()
    set_config(demo, init % ("1", "y"))  # the main process doesn't get this one
    assert env_of_start(demo)["GIT_AUTHOR_NAME"] == "y"
    assert demo.container().id == before
    set_config(demo, init % ("2", "y"))
    env_of_start(demo)
    assert demo.container().id != before
    assert any("entry.env changed" in text for text in demo.notices())


@pytest.mark.parametrize("name", ["USER", "WORKDIR", "HABITAT_PATH", "LOCAL_PATH"])
def test_entry_env_variable_of_build_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=rf"config.yaml:2: entry.env: {name} can't be another one"):
        load(tmp_path, f"base_image: x\nentry: {{env: [{name}=/x]}}\n")


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ("A", "entry.env: 'A' is not NAME=value"),
        ("=x", "entry.env: there is no name before the ="),
        ("export A=x", "entry.env: 'export A' is not the name of a variable"),
        ("A=$5", "a lone $ in '$5'"),
    ],
)
def test_entry_env_flaw_is_error_with_line(tmp_path: Path, entry: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, f"base_image: x\nentry:\n  env:\n    - {entry}\n")
    assert str(caught.value).startswith(f"habitats/demo/config.yaml:4: {problem}")
