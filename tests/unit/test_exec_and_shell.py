"""`exec` and `shell` in a habitat, on the fake engine."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from fake_engine import FakePipedExec
from unit_helpers import DemoProject, FakeTerminal, bring_up, write

from phases.core.errors import EngineError, HabitatError, StartError
from phases.core.project import Project
from phases.core.runtime import exec as runtime_exec
from phases.core.runtime.attach import SHELL
from phases.core.runtime.session import open_session
from phases.core.runtime.temporary import open_temporary_session
from phases.protocol import slug
from phases.registry import named

if TYPE_CHECKING:
    from pathlib import Path

    from fake_engine import Command

    from phases.core.engine.protocol import Container


@pytest.fixture
def site(tmp_path: Path) -> DemoProject:
    return made(tmp_path)


def made(root: Path, text: str = "") -> DemoProject:
    site = DemoProject(root, f"base_image: base:1\n{text}")
    site.build()
    return site


def container(site: DemoProject) -> Container:
    found = site.engine.container("habitat-demo")
    assert found is not None
    return found


def execute(
    site: DemoProject, *argv: str, typed: bytes = b"", interactive: bool = False
) -> tuple[int, list[tuple[bytes, bool]]]:
    terminal = FakeTerminal(typed=typed, interactive=interactive)
    return runtime_exec.execute(site.run_anew(), "demo", argv, terminal), terminal.printed


def test_exec_runs_as_user_in_workdir_and_container_stops_afterwards(site: DemoProject) -> None:
    assert execute(site, "echo", "a=b", "") == (0, [(b"a=b \n", False)])
    command = site.engine.commands[-1]
    assert (command.argv, command.user, command.workdir) == (("echo", "a=b", ""), "agent", "/workspace")
    assert not container(site).running


def test_exec_returns_exit_code_and_separate_outputs(site: DemoProject) -> None:
    script = "echo out; echo err >&2; exit 7"
    assert execute(site, "/bin/sh", "-c", script) == (7, [(b"out\n", False), (b"err\n", True)])


def test_exec_passes_stdin_to_command(site: DemoProject) -> None:
    assert execute(site, "/bin/sh", "-c", "head -c 11", typed=b"line by line and more") == (
        0,
        [(b"line by lin", False)],
    )


def test_exec_with_terminal_runs_in_tty(site: DemoProject) -> None:
    assert execute(site, "/bin/sh", typed=b"exit 4\n", interactive=True)[0] == 4
    assert site.engine.called("exec_tty")


def test_exec_joins_running_container_of_older_image_which_keeps_running(site: DemoProject) -> None:
    with open_session(site.run_anew(), "demo", bring_up):
        before = container(site)
        write(site.root, "habitats/demo/config.yaml", "base_image: base:1\nsetup: {root: ['echo x']}\n")
        other = Project(site.root, lambda: site.engine)
        assert runtime_exec.execute(other, "demo", ("true",), FakeTerminal(typed=b"")) == 0
        assert container(site) == before
    assert not container(site).running


def test_exec_habitat_not_built_is_error_with_command_to_build(tmp_path: Path) -> None:
    site = DemoProject(tmp_path)
    with pytest.raises(StartError) as caught:
        execute(site, "true")
    assert str(caught.value) == "demo: it isn't built yet: doit start:demo builds and starts it"
    assert site.engine.called("create") == []


def test_exec_habitat_of_changed_config_runs_and_warns(site: DemoProject) -> None:
    write(site.root, "habitats/demo/config.yaml", "base_image: base:1\nsetup: {root: ['echo x']}\n")
    assert execute(site, "true")[0] == 0
    assert site.notices() == [
        "demo was built from an older config: doit final:demo rebuilds it",
    ]


def test_exec_without_command_is_error_with_example(site: DemoProject) -> None:
    with pytest.raises(HabitatError, match="demo: no command is given: write it like doit exec:demo -- ls -l"):
        execute(site)


def test_exec_waits_startup_delay_only_for_newly_started_container(tmp_path: Path) -> None:
    site = made(tmp_path, "entry: {startup_delay: 0.1}\n")
    execute(site, "true")
    assert site.notices() == ["waiting 0.1s (entry.startup_delay)"]
    site.engine.start("habitat-demo")
    execute(site, "true")
    assert site.notices() == []


def test_exec_finds_start_secrets_and_masks_them_in_output(tmp_path: Path) -> None:
    site = made(tmp_path, "secrets: [{name: T, command: echo s3cret-word, start: true, variable: T}]\n")
    assert execute(site, "cat", "/run/secrets/T") == (0, [(b"***", False)])
    assert site.engine.commands[-1].env["T"] == "s3cret-word"


def test_exec_output_write_fails_kills_command_and_stops_container(
    site: DemoProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Lost(KeyboardInterrupt):
        pass

    def lose(self: FakeTerminal, data: bytes, is_err: bool) -> None:
        raise Lost

    monkeypatch.setattr(FakeTerminal, "write", lose)
    with pytest.raises(Lost):
        execute(site, "echo", "x")
    (process,) = site.engine._container("habitat-demo").execs
    assert isinstance(process, FakePipedExec)
    assert process.signals == ["KILL"]
    assert not container(site).running


# shell


def shell(site: DemoProject, typed: bytes = b"", *, interactive: bool = False, piped: bool = True, at: str = "") -> int:
    terminal = FakeTerminal(typed=typed, interactive=interactive, piped=piped)
    return runtime_exec.shell(site.run_anew(), "demo", terminal, at=at)


def shell_containers(site: DemoProject) -> list[str]:
    return [found.name for found in site.engine.containers(name_prefix="habitat_shell_")]


def test_shell_runs_as_user_in_workdir_and_returns_exit_code(site: DemoProject) -> None:
    assert shell(site, b"exit 9\n", interactive=True) == 9
    command = site.engine.commands[-1]
    assert (command.argv, command.user, command.workdir) == (SHELL, "agent", "/workspace")
    assert not container(site).running


def test_shell_without_terminal_reads_commands_from_stdin(site: DemoProject) -> None:
    shell(site, b"echo hello\n")
    command = site.engine.commands[-1]
    assert (command.argv, command.stdin) == (SHELL, b"echo hello\n")


@pytest.mark.parametrize("at", ["", "setup"])
def test_shell_without_terminal_or_pipe_is_error_without_container(site: DemoProject, at: str) -> None:
    with pytest.raises(StartError) as caught:
        shell(site, piped=False, at=at)
    assert str(caught.value) == (
        "demo: a shell needs a terminal, or commands from a pipe: doit exec:demo -- COMMAND runs a command without one"
    )
    assert not site.engine.called("exec_piped", "exec_tty")
    assert site.engine.containers() == []


@pytest.mark.parametrize(
    ("at", "user", "workdir", "has_volume"),
    [
        ("base", "root", "/", False),
        ("users", "agent", "/", False),
        ("workdir", "agent", "/workspace", False),
        ("habitat", "agent", "/workspace", False),
        ("files", "agent", "/workspace", True),
        ("final", "agent", "/workspace", True),
    ],
)
def test_shell_in_snapshot_has_user_workdir_and_volumes_of_phase(
    tmp_path: Path, at: str, user: str, workdir: str, has_volume: bool
) -> None:
    write(tmp_path, "habitats/demo/data/note", "x")
    site = made(tmp_path, "volumes: [{source: data, dest: /data}]\n")
    seen: list[Command] = []

    def look(command: Command) -> tuple[int, str]:
        seen.append(command)
        return 6, ""

    site.engine.on_execute = look
    assert shell(site, at=at) == 6
    (command,) = seen
    assert (command.user, command.workdir, bool(command.container.binds)) == (user, workdir, has_volume)
    snapshot = site.engine.tags()[f"habitat-demo:{slug(named(at))}"]
    assert command.container.image == snapshot
    assert not command.container.restrictions.privileges
    assert site.engine.containers() == []


def test_shell_in_phase_without_snapshot_uses_earlier_snapshot_and_says_so(site: DemoProject) -> None:
    shell(site, at="test")
    assert site.notices() == ["test makes no snapshot: this is the one of tools"]


@pytest.mark.parametrize(
    ("at", "told"),
    [
        ("setup", "demo: there is no snapshot of setup: doit setup:demo builds it"),
        ("verify", "demo: there is no snapshot of tools: doit tools:demo builds it"),
        ("dockerfile", "demo: there is no phase 'dockerfile': known here: "),
        ("stup", "demo: there is no phase 'stup': did you mean 'setup'?"),
    ],
)
def test_shell_in_missing_snapshot_is_error_and_builds_nothing(tmp_path: Path, at: str, told: str) -> None:
    site = DemoProject(tmp_path)
    site.build(until="users")
    with pytest.raises(StartError) as caught:
        shell(site, at=at)
    assert str(caught.value).startswith(told)
    assert site.engine.containers() == []
    assert "habitat-demo:7-setup" not in site.engine.tags()


def test_shell_in_outdated_snapshot_warns(site: DemoProject) -> None:
    write(site.root, "habitats/demo/config.yaml", "base_image: base:1\nsetup: {root: ['echo x']}\n")
    shell(site, at="setup")
    (notice,) = site.notices()
    assert notice.startswith("the snapshot of setup is out of date (")
    shell(site, at="files")
    assert site.notices() == []


@pytest.mark.parametrize("method", ["start", "exec_piped"])
def test_shell_container_is_removed_after_engine_error(site: DemoProject, method: str) -> None:
    site.engine.failures[method] = EngineError("no")
    with pytest.raises(EngineError):
        shell(site, at="setup")
    assert shell_containers(site) == []


def test_shell_container_of_killed_run_is_removed_and_of_live_run_kept(site: DemoProject) -> None:
    with open_temporary_session(site.run_anew(), "demo", "setup"):
        (own,) = shell_containers(site)
        site.engine.create("base:1", own.replace(str(os.getpid()), "4194305"), ("x",))
        site.engine.rename(own, f"{own.rpartition('_')[0]}_1")  # a process that is alive
        runtime_exec.shell(
            Project(site.root, lambda: site.engine), "demo", FakeTerminal(piped=True, typed=b""), at="base"
        )
        assert shell_containers(site) == [f"{own.rpartition('_')[0]}_1"]


def test_shell_in_snapshot_finds_start_secrets(tmp_path: Path) -> None:
    site = made(tmp_path, "secrets: [{name: T, command: echo s3cret-word, start: true, variable: T}]\n")
    shell(site, at="base")
    given = site.engine.commands[-2]
    assert (given.args[:2], given.stdin) == (("/run/secrets/T", "root"), b"s3cret-word")
    assert site.engine.commands[-1].env["T"] == "s3cret-word"
