"""Starting a built habitat, on the fake engine."""

from __future__ import annotations

import json
import socket
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace
from unit_helpers import DemoProject, FakeTerminal, bring_up, built_demo, load, write

from phases.core import events
from phases.core.container.init_process import IDLE
from phases.core.container.main_process import main_process
from phases.core.engine.confinement.restrictions import Restrictions
from phases.core.errors import ConfigError, Conflict, EngineError, StartError
from phases.core.project import Project
from phases.core.runtime import clean, stop
from phases.core.runtime import exec as runtime_exec
from phases.core.runtime import start as runtime_start
from phases.core.runtime.session import attach
from phases.core.runtime.session.open import open_session
from phases.core.runtime.session.presence import Presence
from phases.ui.verbs import start as start_verb

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fake_engine import Command


@pytest.fixture
def demo(tmp_path: Path) -> DemoProject:
    return built_demo(tmp_path, "entry: {command: echo hello}\n")


def start(demo: DemoProject, terminal: FakeTerminal | None = None) -> int:
    return runtime_start.start(demo.run_anew(), "demo", terminal or FakeTerminal())


def test_start_runs_command_as_user_in_workdir(demo: DemoProject) -> None:
    terminal = FakeTerminal()
    assert start(demo, terminal) == 0
    assert terminal.printed == [(b"hello\n", False)]
    command = demo.engine.commands[-1]
    assert (command.argv, command.user, command.workdir) == (
        ("/bin/sh", "-c", "--", "echo hello"),
        "agent",
        "/workspace",
    )


def test_start_emits_events_from_container_creation_to_stop(tmp_path: Path) -> None:
    demo = built_demo(
        tmp_path,
        "secrets: [{name: T, command: echo s3cret-word, start: true}]\n"
        "entry: {command: echo s3cret-word; echo no >&2; exit 3}\n",
    )
    start(demo)
    container = demo.container()
    event_texts = [replace(e, seconds=0) if isinstance(e, events.CommandEnded) else e for e in demo.seen]
    argv = ("/bin/sh", "-c", "--", "echo ***; echo no >&2; exit 3")
    assert [event for event in event_texts if not isinstance(event, events.Handover)] == [
        events.ContainerUp("demo", "habitat-demo", container.id, was_running=False),
        events.CommandStarted("demo", "habitat-demo", argv, "agent", "/workspace"),
        events.CommandBytes("demo", b"***\n", is_err=False),
        events.CommandBytes("demo", b"no\n", is_err=True),
        events.CommandEnded("demo", 3, 0),
        events.ContainerStopped("demo", "habitat-demo"),
    ]


@pytest.mark.parametrize("code", [0, 1, 42])
def test_start_returns_exit_code_of_command(tmp_path: Path, code: int) -> None:
    assert start(built_demo(tmp_path, f"entry: {{command: exit {code}}}\n")) == code


def test_start_container_is_created_from_final_image_with_label(demo: DemoProject) -> None:
    start(demo)
    started = demo.container()
    assert started.image == demo.engine.tags()["habitat-demo:final"]
    assert started.labels["habitat.run"] == "demo"
    assert started.command == IDLE


def test_start_container_is_stopped_and_kept_afterwards(demo: DemoProject) -> None:
    start(demo)
    assert not demo.container().running


def test_start_again_with_same_image_reuses_container(demo: DemoProject) -> None:
    start(demo)
    first = demo.container().id
    start(demo)
    assert demo.container().id == first
    assert len(demo.engine.called("rename")) == 0


def test_start_with_newer_image_keeps_old_container_under_other_name(demo: DemoProject) -> None:
    start(demo)
    old = demo.container().id
    demo.engine.files(old).write("/work", "of a day")
    write(demo.root, "habitats/demo/config.yaml", "base_image: base:1\nenv: [A=b]\nentry: {command: echo bye}\n")
    demo.build()
    terminal = FakeTerminal()
    start(demo, terminal)
    assert terminal.printed == [(b"bye\n", False)]
    assert demo.container().id != old
    (aside,) = [c for c in demo.engine.containers(name_prefix="habitat-demo-") if c.id == old]
    assert demo.notices() == [
        (
            "habitat-demo will be replaced by a new container, since its image is out of date: "
            "the new one will lack 1 changed file outside kept paths; "
            "once that is ready, the old one is kept under another name if it has changes"
        ),
        (
            f"the container that was habitat-demo before is kept as {aside.name}, since its image is out of date: "
            "`doit shell:demo --aside` opens a shell in it, `doit restore:demo` makes it the habitat's again, "
            "`doit prune:demo` removes such containers, after asking"
        ),
    ]


def test_start_containers_set_aside_in_same_second_have_different_names(
    demo: DemoProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("phases.core.runtime.own_containers.time.strftime", lambda *_: "20260101-000000")
    for word in ("one", "two", "three"):
        write(demo.root, "habitats/demo/config.yaml", f"base_image: base:1\nenv: [A={word}]\nentry: {{command: x}}\n")
        demo.build()
        start(demo)
        demo.engine.files("habitat-demo").write("/work", word)
    assert len(demo.engine.containers(name_prefix="habitat-demo")) == 3


def test_start_with_container_name_of_others_raises_conflict(demo: DemoProject) -> None:
    demo.engine.create("base:1", "habitat-demo", ("x",))
    with pytest.raises(Conflict) as excinfo:
        start(demo)
    assert str(excinfo.value) == (
        "the container name habitat-demo is taken by another container: "
        "rename that container: docker rename habitat-demo OTHER"
    )
    assert len(demo.engine.containers()) == 1


def test_start_container_keeps_running_while_used_by_others(demo: DemoProject) -> None:
    start(demo)
    demo.engine.start("habitat-demo")
    process = demo.engine.exec_tty("habitat-demo", ("/bin/sh",), user="root", workdir="/", env={}, size=(24, 80))
    start(demo)
    assert demo.container().running
    assert demo.notices() == ["habitat-demo stays running: another session is using it"]
    process.write(b"exit 0\n")
    process.close()
    start(demo)
    assert not demo.container().running


def test_start_container_is_stopped_after_command_cannot_run(demo: DemoProject) -> None:
    demo.engine.failures["exec"] = EngineError("no")
    with pytest.raises(EngineError):
        start(demo)
    assert not demo.container().running


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("remove", "container habitat-demo was removed: `doit start:demo` makes a new one"),
        ("stop", "container habitat-demo was stopped: see docker logs habitat-demo"),
    ],
)
def test_start_container_ended_during_command_is_error(demo: DemoProject, method: str, message: str) -> None:
    def end(command: Command) -> tuple[int, str]:
        getattr(demo.engine, method)(command.container.id)
        return 137, ""

    demo.engine.on_execute = end
    with pytest.raises(StartError) as excinfo:
        start(demo)
    assert str(excinfo.value) == f"demo: {message}"


def test_start_with_terminal_opens_shell_with_term_variable(demo: DemoProject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    write(demo.root, "habitats/demo/config.yaml", "base_image: base:1\n")
    demo.build()
    terminal = FakeTerminal(interactive=True, typed=b"exit 9\n")
    assert start(demo, terminal) == 9
    command = demo.engine.commands[-1]
    assert (command.argv, command.user, command.env["TERM"]) == (attach.SHELL, "agent", "xterm")


def test_start_without_command_and_terminal_gives_notice(tmp_path: Path) -> None:
    demo = built_demo(tmp_path, "")
    assert start(demo) == 0
    assert demo.notices() == [
        "there is no entry.command and no terminal: nothing to run; set entry.command, or give --cmd"
    ]


@pytest.mark.parametrize(
    ("init", "process"),
    [
        ("/sbin/boot", ("/sbin/boot",)),
        ("sleep 600", ("sleep", "600")),
        ("sleep 600 && x", ("/bin/sh", "-c", "sleep 600 && x")),
        ('sleep "6 0"', ("/bin/sh", "-c", 'sleep "6 0"')),
        ("true\nsleep 600", ("/bin/sh", "-c", "true\nsleep 600")),
        ("A=1 sleep 600", ("/bin/sh", "-c", "A=1 sleep 600")),
        ("sleep 600\n", ("sleep", "600")),
    ],
)
def test_init_command_becomes_main_process(tmp_path: Path, init: str, process: tuple[str, ...]) -> None:
    demo = built_demo(tmp_path, f"entry: {{init_command: {json.dumps(init)}, command: 'true'}}\n")
    assert main_process(demo.project.habitat("demo")) == process


def test_init_command_that_ends_is_error_with_its_output(tmp_path: Path) -> None:
    demo = built_demo(tmp_path, "entry: {init_command: 'echo no database; exit 1', command: 'true'}\n")
    with pytest.raises(StartError) as excinfo:
        start(demo)
    assert excinfo.value.output == ("no database",)
    assert str(excinfo.value) == (
        "demo: the init command ended: echo no database; exit 1: write an entry.init_command that keeps running; "
        "see docker logs habitat-demo"
    )


def test_start_waits_startup_delay_before_command(tmp_path: Path) -> None:
    demo = built_demo(tmp_path, "entry: {startup_delay: 0.1, command: echo hello}\n")
    start(demo)
    assert demo.notices() == ["waiting 0.1s (entry.startup_delay)"]


def test_start_container_that_cannot_start_is_error_with_reason(demo: DemoProject) -> None:
    demo.engine.failures["start"] = EngineError("port is taken")
    with pytest.raises(StartError) as excinfo:
        start(demo)
    assert str(excinfo.value) == (
        "demo: container habitat-demo can't be started (port is taken): fix what the engine reports"
    )


def test_start_container_mounts_volumes(tmp_path: Path) -> None:
    write(tmp_path, "habitats/demo/data/note", "from the host")
    text = "volumes: [{source: data, dest: /data}]\nentry: {command: cat /data/note}\n"
    terminal = FakeTerminal()
    start(built_demo(tmp_path, text), terminal)
    assert terminal.printed == [(b"from the host", False)]


# Other ways to start


def test_start_cmd_option_runs_that_command(demo: DemoProject) -> None:
    terminal = FakeTerminal()
    assert runtime_start.start(demo.run_anew(), "demo", terminal, command="echo other; exit 3") == 3
    assert terminal.printed == [(b"other\n", False)]


@pytest.mark.parametrize(
    ("command", "shown", "printed"),
    [
        ("", False, b"***\n"),  # the output of entry.command is a part of the transcript
        ("echo s3cret-word", True, b"***\n"),
        ("echo s3cret-word", False, b"s3cret-word\n"),
    ],
)
def test_start_masks_output_unless_cmd_writes_into_pipe(
    tmp_path: Path, command: str, shown: bool, printed: bytes
) -> None:
    secret = "secrets: [{name: T, command: echo s3cret-word, start: true}]\n"
    demo = built_demo(tmp_path, secret + "entry: {command: echo s3cret-word}\n")
    terminal = FakeTerminal(shown=shown)
    runtime_start.start(demo.run_anew(), "demo", terminal, command=command)
    assert terminal.printed == [(printed, False)]


def test_start_new_option_keeps_old_container_under_other_name(demo: DemoProject) -> None:
    start(demo)
    old = demo.container().id
    runtime_start.start(demo.run_anew(), "demo", FakeTerminal(), fresh=True)
    assert demo.container().id != old
    (aside,) = [c for c in demo.engine.containers(name_prefix="habitat-demo-") if c.id == old]
    notice = demo.notices()[1]
    assert notice.startswith(f"the container that was habitat-demo before is kept as {aside.name}: ")


def test_start_new_option_without_old_container_gives_no_notice(demo: DemoProject) -> None:
    assert runtime_start.start(demo.run_anew(), "demo", FakeTerminal(), fresh=True) == 0
    assert demo.notices() == []


def detach(demo: DemoProject, *, fresh: bool = False) -> None:
    runtime_start.start_detached(demo.run_anew(), "demo", fresh=fresh)


def test_detached_start_runs_no_command_and_leaves_container_running(demo: DemoProject) -> None:
    detach(demo)
    assert demo.container().running
    assert not any("echo hello" in command.script for command in demo.engine.commands)
    assert demo.notices() == [
        "habitat-demo is running: `doit shell:demo` opens a shell in it, `doit stop:demo` stops it",
    ]


def test_detached_container_keeps_running_after_sessions_until_stop(demo: DemoProject) -> None:
    detach(demo)
    for _ in range(2):
        assert start(demo) == 0
        assert demo.container().running
        assert runtime_exec.execute(demo.run_anew(), "demo", ("true",), FakeTerminal()) == 0
        assert demo.container().running
        assert demo.notices() == []
    stop.stop(demo.run_anew(), "demo")
    assert not demo.container().running
    start(demo)
    assert not demo.container().running, "a later start is a start as any other"


def test_detached_container_stopped_by_other_means_is_no_longer_detached(demo: DemoProject) -> None:
    detach(demo)
    demo.engine.stop("habitat-demo")
    start(demo)
    assert not demo.container().running


def test_detached_start_in_container_of_session_keeps_container_running(demo: DemoProject) -> None:
    with open_session(demo.run_anew(), "demo", bring_up):
        runtime_start.start_detached(Project(demo.root, lambda: demo.engine), "demo")
    assert demo.container().running


def test_detached_container_set_aside_is_stopped(demo: DemoProject) -> None:
    detach(demo)
    old = demo.container().id
    detach(demo, fresh=True)
    assert demo.container().id != old
    aside = demo.engine.container(old)
    assert aside is not None
    assert not aside.running
    assert demo.container().running


def test_detached_container_is_still_detached_after_clean(demo: DemoProject) -> None:
    detach(demo)
    clean.clean_all(demo.run_anew(), "demo")
    demo.build()
    runtime_exec.execute(demo.run_anew(), "demo", ("true",), FakeTerminal())
    assert demo.container().running


def test_detached_start_delivers_secrets_and_waits_for_init(tmp_path: Path) -> None:
    demo = built_demo(
        tmp_path,
        "secrets: [{name: T, command: echo s3cret-word, start: true}]\nentry: {startup_delay: 0.1, command: 'true'}\n",
    )
    detach(demo)
    assert demo.notices()[0] == "waiting 0.1s (entry.startup_delay)"
    assert demo.engine._container("habitat-demo").memory == {"/run/secrets/T": ("agent", b"s3cret-word")}


def test_detached_start_with_ended_init_leaves_no_session_record(tmp_path: Path) -> None:
    demo = built_demo(tmp_path, "entry: {init_command: 'exit 1'}\n")
    with pytest.raises(StartError, match="the init command ended"):
        detach(demo)
    demo.engine.start("habitat-demo")
    assert Presence(demo.project.state_folder("demo")).sessions(demo.container().id) == []


def test_start_detach_with_cmd_option_is_refused(demo: DemoProject) -> None:
    with pytest.raises(StartError, match="demo: --detach runs no command, but --cmd gives one: use one of them"):
        start_verb.run(demo.run_anew(), "demo", detach=True, cmd="true")
    assert demo.engine.containers() == []


# What holds it in


def test_container_has_configured_network_limits_and_no_privileges(tmp_path: Path) -> None:
    text = "entry: {command: 'true', network: none, limits: {memory: 1.5g, cpus: 2.5, pids: 64}}\n"
    demo = built_demo(tmp_path, text)
    start(demo)
    held = demo.engine._container("habitat-demo").restrictions
    assert held == Restrictions(privileges=False, network="none", memory=1610612736, cpus=2.5, pids=64)


def test_container_without_settings_has_network_and_default_limits(demo: DemoProject) -> None:
    start(demo)
    held = demo.engine._container("habitat-demo").restrictions
    assert held == Restrictions(privileges=False, network="bridge", pids=4096)


def test_limits_changed_give_new_container_of_same_image(demo: DemoProject) -> None:
    start(demo)
    before = demo.container()
    write(demo.root, "habitats/demo/config.yaml", "base_image: base:1\nentry: {command: echo hello, network: none}\n")
    assert demo.build() == []
    start(demo)
    assert demo.container().id != before.id
    assert demo.container().image == before.image
    assert demo.engine.container(before.id) is None


@pytest.mark.parametrize(
    ("limits", "why"),
    [
        ("memory: much", "'much' is not a size: write it like 512m or 4g"),
        ("memory: 1k", "memory is less than the 6m that an engine accepts: write 6m or more"),
        ("memory: -1g", "'-1g' is not a size"),
        ("cpus: -1", "entry.limits.cpus: must be a number from 0 to 4096, is -1: write one such as 1.5, or 0 for"),
        ("cpus: nan", "entry.limits.cpus: must be a number from 0 to 4096, is nan: write one such as 1.5"),
        ("pids: -1", "entry.limits.pids: must be a whole number above 0, is -1: write one such as 4096, or 0 for no"),
        ("swap: 1g", "entry.limits: unknown key 'swap': known here: cpus, memory, pids"),
    ],
)
def test_limits_malformed_are_refused_with_line(tmp_path: Path, limits: str, why: str) -> None:
    with pytest.raises(ConfigError) as excinfo:
        load(tmp_path, f"base_image: b\nentry:\n  limits:\n    {limits}\n")
    assert str(excinfo.value).startswith(f"habitats/demo/config.yaml:4: {why}")


def test_network_other_than_bridge_or_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"config.yaml:2: entry.network: must be bridge, none or a mapping .*, is 'host': write none"
    ):
        load(tmp_path, "base_image: b\nentry: {network: host}\n")


# The engine's socket


@pytest.fixture
def engine_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An engine's socket, as DOCKER_HOST names it."""
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listening:
        path = Path(folder) / "engine.sock"
        listening.bind(str(path))
        monkeypatch.setenv("DOCKER_HOST", f"unix://{path}")
        yield path


@pytest.mark.guarantee("engine-socket-refused")
def test_volume_with_engine_socket_is_refused_without_confirmation(tmp_path: Path, engine_socket: Path) -> None:
    (tmp_path / "link").symlink_to(engine_socket.parent)
    for source in (engine_socket, engine_socket.parent, Path("/"), tmp_path / "link"):
        with pytest.raises(ConfigError) as excinfo:
            load(tmp_path, f"base_image: b\nvolumes:\n  - {{source: {source}, dest: /v}}\n")
        assert str(excinfo.value) == (
            f"habitats/demo/config.yaml:3: volumes: {source} holds the engine's socket {engine_socket}: "
            "that gives root on this machine: mount less of it, or add `gives_root_on_the_host: true`"
        )


@pytest.mark.guarantee("writable-volume-must-be-own-data")
@pytest.mark.parametrize("source", ["/proc", "/proc/sys/kernel", "/sys", "/etc", "/dev", "/usr", "/usr/bin"])
def test_volume_of_system_folder_is_refused_unless_readonly_or_confirmed(tmp_path: Path, source: str) -> None:
    text = f"base_image: b\nvolumes:\n  - {{source: {source}, dest: /v"
    with pytest.raises(ConfigError, match="is writable: that gives root on this machine: add `readonly: true`, mount"):
        load(tmp_path, f"{text}}}\n")
    if source != "/":
        assert not load(tmp_path, f"{text}, readonly: true}}\n").volumes[0].gives_root
    assert load(tmp_path, f"{text}, gives_root_on_the_host: true}}\n").volumes[0].gives_root


@pytest.mark.parametrize("source", ["/dev/shm", "/var/tmp"])
def test_volume_of_world_writable_folder_is_accepted(tmp_path: Path, source: str) -> None:
    habitat = load(tmp_path, f"base_image: b\nvolumes:\n  - {{source: {source}, dest: /v}}\n")
    assert [volume.gives_root for volume in habitat.volumes if volume.present] == [False]


@pytest.mark.parametrize("name", ["docker.sock", "podman.sock", "containerd.sock"])
def test_volume_of_socket_with_engine_name_is_refused(tmp_path: Path, name: str) -> None:
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listening:
        listening.bind(f"{folder}/{name}")
        with pytest.raises(ConfigError, match="gives_root_on_the_host"):
            load(tmp_path, f"base_image: b\nvolumes:\n  - {{source: {folder}/{name}, dest: /v}}\n")


def test_volume_of_hard_link_to_engine_socket_is_refused(tmp_path: Path, engine_socket: Path) -> None:
    other = engine_socket.parent / "other"
    other.mkdir()
    (other / "plain").hardlink_to(engine_socket)
    with pytest.raises(ConfigError, match="gives_root_on_the_host"):
        load(tmp_path, f"base_image: b\nvolumes:\n  - {{source: {other}/plain, dest: /v}}\n")


def test_volume_of_socket_of_any_docker_context_is_refused(
    tmp_path: Path, engine_socket: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DOCKER_HOST")
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    described = json.dumps({"Name": "mine", "Endpoints": {"docker": {"Host": f"unix://{engine_socket}"}}})
    write(tmp_path, "contexts/meta/aa/meta.json", "[]")
    write(tmp_path, "contexts/meta/bb/meta.json", described)
    with pytest.raises(ConfigError, match="gives_root_on_the_host"):
        load(tmp_path, f"base_image: b\nvolumes:\n  - {{source: {engine_socket.parent}, dest: /v}}\n")


def test_volume_giving_root_warns_at_every_start(tmp_path: Path, engine_socket: Path) -> None:
    demo = built_demo(
        tmp_path,
        f"volumes: [{{source: {engine_socket}, dest: /engine.sock, gives_root_on_the_host: true}}]\n"
        "entry: {command: 'true'}\n",
    )
    for _ in range(2):
        start(demo)
        assert demo.notices()[0] == (f"{engine_socket} gives every process in demo root access to this machine")


# Secrets


def with_secret(root: Path, command: str) -> DemoProject:
    secret = "secrets: [{name: T, command: echo s3cret-word, start: true, variable: T}]"
    return built_demo(root, f"{secret}\nentry: {{command: {command!r}}}\n")


def test_secret_is_delivered_at_every_start_and_masked(tmp_path: Path) -> None:
    demo = with_secret(tmp_path, "cat /run/secrets/T")
    for _ in range(2):
        terminal = FakeTerminal()
        assert start(demo, terminal) == 0
        assert terminal.printed == [(b"***", False)]
        given = demo.engine.commands[-2]
        assert (given.args, given.stdin) == (("/run/secrets/T", "agent", "11"), b"s3cret-word")
        assert demo.engine.commands[-1].env["T"] == "s3cret-word"
    assert demo.engine._container("habitat-demo").memory == {}, "gone with the stop"


def test_secret_of_build_phase_is_not_delivered_at_start(tmp_path: Path) -> None:
    secret = "secrets: [{name: T, command: echo s3cret, phases: [setup], variable: T}]"
    demo = built_demo(tmp_path, f"{secret}\nentry: {{command: 'true'}}\n")
    start(demo)
    assert not any("T" in command.env for command in demo.engine.commands)
    assert not any(command.stdin for command in demo.engine.commands)


@pytest.mark.guarantee("secret-hidden-in-init-output")
def test_init_output_in_error_is_masked(tmp_path: Path) -> None:
    """Root's main process can read what only USER was given."""
    secret = "secrets: [{name: T, command: echo s3cret-word, start: true}]"
    demo = built_demo(tmp_path, f"{secret}\nentry: {{init_command: 'echo has s3cret-word; exit 1', command: 'true'}}\n")
    with pytest.raises(StartError) as excinfo:
        start(demo)
    assert excinfo.value.output == ("has ***",)


def test_terminal_output_is_masked_with_same_width(tmp_path: Path) -> None:
    terminal = FakeTerminal(interactive=True)
    assert start(with_secret(tmp_path, "echo s3cret-word"), terminal) == 0
    assert terminal.printed[0] == (b"*" * 11 + b"\n", False)


def test_secret_removed_from_host_is_removed_by_next_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or it would be there for a command that it isn't masked for."""
    monkeypatch.setenv("GOES", "s3cret-word")
    text = "secrets: [{name: T, env: GOES, start: true, optional: true}, {name: U, command: echo stays, start: true}]\n"
    demo = built_demo(tmp_path, f"{text}entry: {{command: 'true'}}\n")
    runtime_start.start_detached(demo.run_anew(), "demo")
    assert sorted(demo.engine._container("habitat-demo").memory) == ["/run/secrets/T", "/run/secrets/U"]
    monkeypatch.delenv("GOES")
    runtime_start.start_detached(demo.run_anew(), "demo")
    assert sorted(demo.engine._container("habitat-demo").memory) == ["/run/secrets/U"]
