"""`exec` and `shell` in a habitat, on the fake engine."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from fake_engine import FakePiped
from unit_helpers import FakeTerminal, Site, bring_up, write

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
def site(tmp_path: Path) -> Site:
    return made(tmp_path)


def made(root: Path, text: str = "") -> Site:
    site = Site(root, f"base_image: base:1\n{text}")
    site.build()
    return site


def container(site: Site) -> Container:
    found = site.engine.container("habitat-demo")
    assert found is not None
    return found


def execute(
    site: Site, *argv: str, typed: bytes = b"", interactive: bool = False
) -> tuple[int, list[tuple[bytes, bool]]]:
    terminal = FakeTerminal(typed=typed, interactive=interactive)
    return runtime_exec.execute(site.run_anew(), "demo", argv, terminal), terminal.printed


def test_a_command_runs_as_the_user_in_the_workdir_of_a_container_that_is_stopped_again(site: Site) -> None:
    assert execute(site, "echo", "a=b", "") == (0, [(b"a=b \n", False)])
    command = site.engine.commands[-1]
    assert (command.argv, command.user, command.workdir) == (("echo", "a=b", ""), "agent", "/workspace")
    assert not container(site).running


def test_its_exit_code_and_its_two_outputs_are_the_commands(site: Site) -> None:
    script = "echo out; echo err >&2; exit 7"
    assert execute(site, "/bin/sh", "-c", script) == (7, [(b"out\n", False), (b"err\n", True)])


def test_it_gets_what_is_put_in(site: Site) -> None:
    assert execute(site, "/bin/sh", "-c", "head -c 11", typed=b"line by line and more") == (
        0,
        [(b"line by lin", False)],
    )


def test_with_a_terminal_it_has_it(site: Site) -> None:
    assert execute(site, "/bin/sh", typed=b"exit 4\n", interactive=True)[0] == 4
    assert site.engine.called("exec_tty")


def test_what_runs_already_is_used_also_when_it_is_of_an_older_image_and_goes_on(site: Site) -> None:
    with open_session(site.run_anew(), "demo", bring_up):
        before = container(site)
        write(site.root, "habitats/demo/config.yaml", "base_image: base:1\nsetup: {root: ['echo x']}\n")
        other = Project(site.root, lambda: site.engine)
        assert runtime_exec.execute(other, "demo", ("true",), FakeTerminal(typed=b"")) == 0
        assert container(site) == before
    assert not container(site).running


def test_what_is_not_built_is_told_with_what_builds_it(tmp_path: Path) -> None:
    site = Site(tmp_path)
    with pytest.raises(StartError) as caught:
        execute(site, "true")
    assert str(caught.value) == "demo: it isn't built yet: doit start:demo builds and starts it"
    assert site.engine.called("create") == []


def test_what_was_built_of_another_config_is_used_and_told(site: Site) -> None:
    write(site.root, "habitats/demo/config.yaml", "base_image: base:1\nsetup: {root: ['echo x']}\n")
    assert execute(site, "true")[0] == 0
    assert site.notices() == [
        "demo was built from an older config: doit final:demo rebuilds it",
    ]


def test_no_command_is_told(site: Site) -> None:
    with pytest.raises(HabitatError, match="demo: no command is given: write it like doit exec:demo -- ls -l"):
        execute(site)


def test_what_runs_is_ready_and_what_is_brought_up_has_its_delay(tmp_path: Path) -> None:
    site = made(tmp_path, "entry: {startup_delay: 0.1}\n")
    execute(site, "true")
    assert site.notices() == ["waiting 0.1s (entry.startup_delay)"]
    site.engine.start("habitat-demo")
    execute(site, "true")
    assert site.notices() == []


def test_secrets_of_a_start_reach_it_and_are_stars(tmp_path: Path) -> None:
    site = made(tmp_path, "secrets: [{name: T, command: echo s3cret-word, start: true, variable: T}]\n")
    assert execute(site, "cat", "/run/secrets/T") == (0, [(b"***", False)])
    assert site.engine.commands[-1].env["T"] == "s3cret-word"


def test_a_command_whose_output_reaches_nobody_is_killed(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    class Lost(KeyboardInterrupt):
        pass

    def lose(self: FakeTerminal, data: bytes, is_err: bool) -> None:
        raise Lost

    monkeypatch.setattr(FakeTerminal, "write", lose)
    with pytest.raises(Lost):
        execute(site, "echo", "x")
    (process,) = site.engine._container("habitat-demo").execs
    assert isinstance(process, FakePiped)
    assert process.signals == ["KILL"]
    assert not container(site).running


# shell


def shell(site: Site, typed: bytes = b"", *, interactive: bool = False, piped: bool = True, at: str = "") -> int:
    terminal = FakeTerminal(typed=typed, interactive=interactive, piped=piped)
    return runtime_exec.shell(site.run_anew(), "demo", terminal, at=at)


def shell_containers(site: Site) -> list[str]:
    return [found.name for found in site.engine.containers(name_prefix="habitat_shell_")]


def test_a_shell_is_the_users_in_the_workdir_and_its_exit_code_is_told(site: Site) -> None:
    assert shell(site, b"exit 9\n", interactive=True) == 9
    command = site.engine.commands[-1]
    assert (command.argv, command.user, command.workdir) == (SHELL, "agent", "/workspace")
    assert not container(site).running


def test_without_a_terminal_a_shell_reads_what_is_put_in(site: Site) -> None:
    shell(site, b"echo hello\n")
    command = site.engine.commands[-1]
    assert (command.argv, command.stdin) == (SHELL, b"echo hello\n")


@pytest.mark.parametrize("at", ["", "setup"])
def test_with_neither_there_is_no_shell_and_no_container(site: Site, at: str) -> None:
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
def test_a_snapshot_is_looked_at_by_whom_and_where_it_has(
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


def test_a_phase_without_a_snapshot_shows_the_one_it_looks_at(site: Site) -> None:
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
def test_what_is_not_there_is_told_and_not_built(tmp_path: Path, at: str, told: str) -> None:
    site = Site(tmp_path)
    site.build(until="users")
    with pytest.raises(StartError) as caught:
        shell(site, at=at)
    assert str(caught.value).startswith(told)
    assert site.engine.containers() == []
    assert "habitat-demo:7-setup" not in site.engine.tags()


def test_an_old_snapshot_is_told_to_be_one(site: Site) -> None:
    write(site.root, "habitats/demo/config.yaml", "base_image: base:1\nsetup: {root: ['echo x']}\n")
    shell(site, at="setup")
    (notice,) = site.notices()
    assert notice.startswith("the snapshot of setup is out of date (")
    shell(site, at="files")
    assert site.notices() == []


@pytest.mark.parametrize("method", ["start", "exec_piped"])
def test_a_throwaway_container_goes_whatever_happens(site: Site, method: str) -> None:
    site.engine.failures[method] = EngineError("no")
    with pytest.raises(EngineError):
        shell(site, at="setup")
    assert shell_containers(site) == []


def test_what_a_killed_shell_has_left_goes_with_the_next_and_one_at_work_stays(site: Site) -> None:
    with open_temporary_session(site.run_anew(), "demo", "setup"):
        (own,) = shell_containers(site)
        site.engine.create("base:1", own.replace(str(os.getpid()), "4194305"), ("x",))
        site.engine.rename(own, f"{own.rpartition('_')[0]}_1")  # a process that is alive
        runtime_exec.shell(
            Project(site.root, lambda: site.engine), "demo", FakeTerminal(piped=True, typed=b""), at="base"
        )
        assert shell_containers(site) == [f"{own.rpartition('_')[0]}_1"]


def test_secrets_of_a_start_reach_a_shell_in_a_snapshot(tmp_path: Path) -> None:
    site = made(tmp_path, "secrets: [{name: T, command: echo s3cret-word, start: true, variable: T}]\n")
    shell(site, at="base")
    given = site.engine.commands[-2]
    assert (given.args[:2], given.stdin) == (("/run/secrets/T", "root"), b"s3cret-word")
    assert site.engine.commands[-1].env["T"] == "s3cret-word"
