"""`exec` and `shell` in a habitat, on the fake engine."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from fake_engine import FakePipedExec
from unit_helpers import DemoProject, FakeTerminal, bring_up, built_demo, write

from phases.core import events
from phases.core.errors import EngineError, HabitatError, StartError
from phases.core.project import Project
from phases.core.runtime import exec as runtime_exec
from phases.core.runtime import start as runtime_start
from phases.core.runtime.session import hang_up
from phases.core.runtime.session.attach import SHELL
from phases.core.runtime.session.open import open_session
from phases.core.runtime.session.presence import Presence
from phases.core.runtime.temporary import open_temporary_session
from phases.protocol import slug
from phases.registry import named

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fake_engine import Command

    from phases.core.engine.protocol import Exec, Piped
    from phases.core.masking import Mask


WITH_SECRET = "secrets: [{name: T, command: echo s3cret-word, start: true, variable: T}]\n"


@pytest.fixture
def demo(tmp_path: Path) -> DemoProject:
    return built_demo(tmp_path)


def execute(
    demo: DemoProject, *argv: str, typed: bytes = b"", interactive: bool = False, shown: bool = False
) -> tuple[int, list[tuple[bytes, bool]]]:
    terminal = FakeTerminal(typed=typed, interactive=interactive, shown=shown)
    return runtime_exec.execute(demo.run_anew(), "demo", argv, terminal), terminal.printed


def test_exec_runs_as_user_in_workdir_and_container_stops_afterwards(demo: DemoProject) -> None:
    assert execute(demo, "echo", "a=b", "") == (0, [(b"a=b \n", False)])
    command = demo.engine.commands[-1]
    assert (command.argv, command.user, command.workdir) == (("echo", "a=b", ""), "agent", "/workspace")
    assert not demo.container().running


def test_exec_returns_exit_code_and_separate_outputs(demo: DemoProject) -> None:
    script = "echo out; echo err >&2; exit 7"
    assert execute(demo, "/bin/sh", "-c", script) == (7, [(b"out\n", False), (b"err\n", True)])


def test_exec_passes_stdin_to_command(demo: DemoProject) -> None:
    assert execute(demo, "/bin/sh", "-c", "head -c 11", typed=b"line by line and more") == (
        0,
        [(b"line by lin", False)],
    )


def test_exec_with_terminal_runs_in_tty(demo: DemoProject) -> None:
    assert execute(demo, "/bin/sh", typed=b"exit 4\n", interactive=True)[0] == 4
    assert demo.engine.called("exec_tty")


def test_exec_joins_running_container_of_older_image_which_keeps_running(demo: DemoProject) -> None:
    with open_session(demo.run_anew(), "demo", bring_up):
        before = demo.container()
        write(demo.root, "habitats/demo/config.yaml", "base_image: base:1\nsetup: {root: ['echo x']}\n")
        other = Project(demo.root, lambda: demo.engine)
        assert runtime_exec.execute(other, "demo", ("true",), FakeTerminal(typed=b"")) == 0
        assert demo.container() == before
    assert not demo.container().running


def test_exec_habitat_not_built_is_error_with_command_to_build(tmp_path: Path) -> None:
    demo = DemoProject(tmp_path)
    with pytest.raises(StartError) as excinfo:
        execute(demo, "true")
    assert str(excinfo.value) == "demo: it isn't built yet: `doit start:demo` builds and starts it"
    assert demo.engine.called("create") == []


def test_exec_habitat_of_changed_config_runs_and_warns(demo: DemoProject) -> None:
    write(demo.root, "habitats/demo/config.yaml", "base_image: base:1\nsetup: {root: ['echo x']}\n")
    assert execute(demo, "true")[0] == 0
    assert demo.notices() == [
        "demo was built from an older config: `doit final:demo` rebuilds it",
    ]


def test_exec_waits_startup_delay_only_for_newly_started_container(tmp_path: Path) -> None:
    demo = built_demo(tmp_path, "entry: {startup_delay: 0.1}\n")
    execute(demo, "true")
    assert demo.notices() == ["waiting 0.1s (entry.startup_delay)"]
    demo.engine.start("habitat-demo")
    execute(demo, "true")
    assert demo.notices() == []


def test_exec_on_terminal_finds_start_secrets_and_masks_them(tmp_path: Path) -> None:
    demo = built_demo(tmp_path, WITH_SECRET)
    assert execute(demo, "cat", "/run/secrets/T", shown=True) == (0, [(b"***", False)])
    assert demo.engine.commands[-1].env["T"] == "s3cret-word"


@pytest.mark.parametrize("optional", ["", ", optional: true"])
def test_exec_from_terminal_without_secret_uses_what_running_habitat_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, optional: str
) -> None:
    monkeypatch.setenv("TOKEN", "s3cret-word")
    demo = built_demo(tmp_path, f"secrets: [{{name: T, env: TOKEN, start: true, variable: T{optional}}}]\n")
    runtime_start.start_detached(demo.run_anew(), "demo")
    monkeypatch.delenv("TOKEN")
    for _ in range(2):
        assert execute(demo, "cat", "/run/secrets/T", shown=True) == (0, [(b"***", False)])
        assert demo.engine.commands[-1].env["T"] == "s3cret-word"
    container = demo.engine._container("habitat-demo")
    if not optional:
        runtime_start.start_detached(demo.run_anew(), "demo")
        assert container.memory["/run/secrets/T"] == ("agent", b"s3cret-word")
    container.memory["/run/secrets/T"] = ("agent", b"what the agent wrote")
    if optional:
        assert execute(demo, "true")[0] == 0
        assert "T" not in demo.engine.commands[-1].env
    else:
        with pytest.raises(HabitatError, match="secret T: the environment has no TOKEN"):
            execute(demo, "true")
        demo.engine.stop("habitat-demo")
        with pytest.raises(HabitatError, match="secret T: the environment has no TOKEN"):
            execute(demo, "true")


@pytest.mark.guarantee("exec-passes-bytes-unchanged")
def test_exec_in_pipe_passes_every_byte_and_masks_events_only(tmp_path: Path) -> None:
    demo = built_demo(tmp_path, WITH_SECRET)
    script = "cat /run/secrets/T; cat /run/secrets/T >&2"
    code, printed = execute(demo, "/bin/sh", "-c", script)
    outputs = [b"".join(data for data, is_err in printed if is_err is wanted) for wanted in (False, True)]
    assert (code, outputs) == (0, [b"s3cret-word", b"s3cret-word"])
    passed_on = [event for event in demo.seen if isinstance(event, events.CommandBytes)]
    assert {event.is_err: event.data for event in passed_on} == {False: b"***", True: b"***"}


@pytest.mark.guarantee("short-secret-not-masked")
def test_exec_with_short_secret_warns_once_that_it_is_not_masked(tmp_path: Path) -> None:
    demo = built_demo(tmp_path, "secrets: [{name: PIN, command: echo true, start: true}]\n")
    assert execute(demo, "echo", "it is true", shown=True) == (0, [(b"it is true\n", False)])
    assert demo.notices() == ["secret PIN has fewer than 8 characters, so output shows it unmasked"]


def test_exec_output_write_fails_kills_command_and_stops_container(
    demo: DemoProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Lost(KeyboardInterrupt):
        pass

    def lose(self: FakeTerminal, data: bytes, is_err: bool) -> None:
        raise Lost

    monkeypatch.setattr(FakeTerminal, "write", lose)
    with pytest.raises(Lost):
        execute(demo, "echo", "x")
    (process,) = demo.engine._container("habitat-demo").execs
    assert isinstance(process, FakePipedExec)
    assert process.signals == ["KILL"]
    assert not demo.container().running


# A session whose terminal or pipe is gone, in a container that stays running


class HungUp(KeyboardInterrupt):
    """The signal of a terminal that was closed."""


class ClosedTerminal(FakeTerminal):
    def hand_over(self, process: Exec, mask: Mask) -> None:
        raise HungUp

    def connect(self, process: Piped, show: Callable[[bytes, bool], None]) -> None:
        raise HungUp


@pytest.mark.guarantee("killed-session-is-cleaned-up")
@pytest.mark.parametrize("interactive", [True, False])
@pytest.mark.parametrize("used_by", ["detached start", "session", "docker exec"])
def test_exec_whose_terminal_is_gone_is_ended_in_container_that_stays(
    demo: DemoProject, interactive: bool, used_by: str
) -> None:
    runtime_start.start_detached(demo.run_anew(), "demo")
    if used_by != "detached start":
        Presence(demo.root / ".stamps/demo").forget(demo.container().id)
    with ExitStack() as stack:
        if used_by == "session":
            stack.enter_context(open_session(Project(demo.root, lambda: demo.engine), "demo", bring_up))
        others = demo.engine.exec_piped("habitat-demo", ("/bin/sh", "-c", "sleep 9"), user="0", workdir="/", env={})
        with pytest.raises(HungUp):
            runtime_exec.execute(demo.run_anew(), "demo", ("/bin/sh",), ClosedTerminal(interactive=interactive))
        assert demo.container().running
        assert isinstance(others, FakePipedExec)
        assert others.running
        assert demo.engine.running_execs("habitat-demo") == 1


def test_exec_that_ended_sends_no_signal(demo: DemoProject) -> None:
    runtime_start.start_detached(demo.run_anew(), "demo")
    assert execute(demo, "true")[0] == 0
    assert [command for command in demo.engine.commands if command.script == hang_up._HANG_UP.text] == []


# shell


def shell(demo: DemoProject, typed: bytes = b"", *, interactive: bool = False, piped: bool = True, at: str = "") -> int:
    terminal = FakeTerminal(typed=typed, interactive=interactive, piped=piped)
    return runtime_exec.shell(demo.run_anew(), "demo", terminal, at=at)


def shell_containers(demo: DemoProject) -> list[str]:
    return [container.name for container in demo.engine.containers(name_prefix="habitat_shell_")]


def test_shell_runs_as_user_in_workdir_and_returns_exit_code(demo: DemoProject) -> None:
    assert shell(demo, b"exit 9\n", interactive=True) == 9
    command = demo.engine.commands[-1]
    assert (command.argv, command.user, command.workdir) == (SHELL, "agent", "/workspace")
    assert not demo.container().running


def test_shell_without_terminal_reads_commands_from_stdin(demo: DemoProject) -> None:
    shell(demo, b"echo hello\n")
    command = demo.engine.commands[-1]
    assert (command.argv, command.stdin) == (SHELL, b"echo hello\n")


@pytest.mark.parametrize("at", ["", "setup"])
def test_shell_without_terminal_or_pipe_is_error_without_container(demo: DemoProject, at: str) -> None:
    with pytest.raises(StartError) as excinfo:
        shell(demo, piped=False, at=at)
    assert str(excinfo.value) == (
        "demo: a shell needs a terminal, or commands from a pipe: "
        "`doit exec:demo -- COMMAND` runs a command without one"
    )
    assert not demo.engine.called("exec_piped", "exec_tty")
    assert demo.engine.containers() == []


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
    demo = built_demo(tmp_path, "volumes: [{source: data, dest: /data}]\n")
    seen: list[Command] = []

    def look(command: Command) -> tuple[int, str]:
        seen.append(command)
        return 6, ""

    demo.engine.on_execute = look
    assert shell(demo, at=at) == 6
    (command,) = seen
    assert (command.user, command.workdir, bool(command.container.binds)) == (user, workdir, has_volume)
    snapshot = demo.engine.tags()[f"habitat-demo:{slug(named(at))}"]
    assert command.container.image == snapshot
    assert not command.container.restrictions.privileges
    assert demo.engine.containers() == []


def test_shell_in_phase_without_snapshot_uses_earlier_snapshot_and_says_so(demo: DemoProject) -> None:
    shell(demo, at="test")
    assert demo.notices() == ["test makes no snapshot: this is the one of tools"]


@pytest.mark.parametrize(
    ("at", "message"),
    [
        ("setup", "demo: there is no snapshot of setup: `doit setup:demo` builds it"),
        ("verify", "demo: there is no snapshot of tools: `doit tools:demo` builds it"),
        ("dockerfile", "demo: there is no phase 'dockerfile': known here: "),
        ("stup", "demo: there is no phase 'stup': did you mean 'setup'?"),
    ],
)
def test_shell_in_missing_snapshot_is_error_and_builds_nothing(tmp_path: Path, at: str, message: str) -> None:
    demo = DemoProject(tmp_path)
    demo.build(until="users")
    with pytest.raises(StartError) as excinfo:
        shell(demo, at=at)
    assert str(excinfo.value).startswith(message)
    assert demo.engine.containers() == []
    assert "habitat-demo:7-setup" not in demo.engine.tags()


def test_shell_in_outdated_snapshot_warns(demo: DemoProject) -> None:
    write(demo.root, "habitats/demo/config.yaml", "base_image: base:1\nsetup: {root: ['echo x']}\n")
    shell(demo, at="setup")
    (notice,) = demo.notices()
    assert notice.startswith("the snapshot of setup is out of date (")
    shell(demo, at="files")
    assert demo.notices() == []


@pytest.mark.parametrize("method", ["start", "exec_piped"])
def test_shell_container_is_removed_after_engine_error(demo: DemoProject, method: str) -> None:
    demo.engine.failures[method] = EngineError("no")
    with pytest.raises(EngineError):
        shell(demo, at="setup")
    assert shell_containers(demo) == []


def test_shell_container_of_killed_run_is_removed_and_of_live_run_kept(demo: DemoProject) -> None:
    with open_temporary_session(demo.run_anew(), "demo", "setup"):
        (own,) = shell_containers(demo)
        demo.engine.create("base:1", own.replace(str(os.getpid()), "4194305"), ("x",))
        demo.engine.rename(own, f"{own.rpartition('_')[0]}_1")  # a process that is alive
        runtime_exec.shell(
            Project(demo.root, lambda: demo.engine), "demo", FakeTerminal(piped=True, typed=b""), at="base"
        )
        assert shell_containers(demo) == [f"{own.rpartition('_')[0]}_1"]


def test_shell_in_snapshot_finds_start_secrets(tmp_path: Path) -> None:
    demo = built_demo(tmp_path, "secrets: [{name: T, command: echo s3cret-word, start: true, variable: T}]\n")
    shell(demo, at="base")
    given = demo.engine.commands[-2]
    assert (given.args[:2], given.stdin) == (("/run/secrets/T", "root"), b"s3cret-word")
    assert demo.engine.commands[-1].env["T"] == "s3cret-word"
