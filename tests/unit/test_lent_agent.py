"""`entry.ssh_agent`: the person's agent in the sessions of a habitat, and no longer than these."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from unit_helpers import DemoProject, FakeTerminal, built_demo, load, write

from phases.core.errors import Untrusted
from phases.core.runtime import clean
from phases.core.runtime import exec as runtime_exec
from phases.core.runtime import start as runtime_start
from phases.core.runtime.person import agent_folder, lent_agent
from phases.core.trust import requests_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fake_engine import Command

CONFIG = "entry: {command: 'true', ssh_agent: true}\n"


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An agent that answers `pong` to anything."""
    path = tmp_path / "agent.socket"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()

        def answer() -> None:
            while True:
                try:
                    client, _ = server.accept()
                except OSError:
                    return
                with client:
                    client.recv(100)
                    client.sendall(b"pong")

        threading.Thread(target=answer, daemon=True).start()
        monkeypatch.setenv("SSH_AUTH_SOCK", str(path))
        yield path
        server.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def demo(tmp_path: Path) -> DemoProject:
    (tmp_path / "project").mkdir()
    return built_demo(tmp_path / "project", CONFIG)


def sockets(demo: DemoProject) -> list[Path]:
    return [*agent_folder.folder(demo.project, demo.project.habitat("demo")).iterdir()]


def answers_in_session(demo: DemoProject) -> list[bytes]:
    """What a command of a start gets from the socket that it has."""
    answers: list[bytes] = []
    before = demo.engine.on_execute

    def ask(command: Command) -> tuple[int, str | bytes] | None:
        variable = command.env.get("SSH_AUTH_SOCK", "")
        if variable:
            (path,) = sockets(demo)
            assert variable == f"/run/ssh-agent/{path.name}"
            descriptor = os.open(path.parent, os.O_PATH)
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(f"/proc/self/fd/{descriptor}/{path.name}")
                client.sendall(b"ping")
                answers.append(client.recv(100))
            os.close(descriptor)
        return before(command) if before else None

    demo.engine.on_execute = ask
    runtime_start.start(demo.run_anew(), "demo", FakeTerminal())
    demo.engine.on_execute = before
    return answers


@pytest.mark.guarantee("ssh-agent-is-lent-to-a-session")
def test_agent_is_lent_to_a_session_and_said_and_taken_back(demo: DemoProject, agent: Path) -> None:
    assert answers_in_session(demo) == [b"pong"]
    assert [text for text in demo.notices() if "your SSH agent is lent to demo until this session ends" in text]
    assert sockets(demo) == []
    (bind,) = [bind for bind in demo.container().binds if bind.dest == "/run/ssh-agent"]
    assert bind.readonly
    assert Path(bind.source).stat().st_mode & 0o777 == 0o755
    assert Path(bind.source).parent.stat().st_mode & 0o777 == 0o700


def test_agent_with_another_socket_is_lent_to_the_same_container(
    demo: DemoProject, agent: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert answers_in_session(demo) == [b"pong"]
    before = demo.container().id
    moved = tmp_path / "moved.socket"
    agent.rename(moved)
    monkeypatch.setenv("SSH_AUTH_SOCK", str(moved))
    assert answers_in_session(demo) == [b"pong"]
    assert demo.container().id == before


@pytest.mark.parametrize("value", ["", "/nowhere", "/etc/passwd"])
def test_habitat_starts_without_an_agent_with_a_warning(
    demo: DemoProject, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("SSH_AUTH_SOCK", value)
    runtime_start.start(demo.run_anew(), "demo", FakeTerminal())
    assert "SSH_AUTH_SOCK" not in demo.engine.commands[-1].env
    assert [text for text in demo.notices() if "no SSH agent runs on the host: start one and add your key" in text]


def test_engine_on_another_machine_gets_no_folder_of_this_one(demo: DemoProject, agent: Path) -> None:
    demo.engine.address = "tcp://elsewhere:2375"
    runtime_start.start(demo.run_anew(), "demo", FakeTerminal())
    assert demo.container().binds == ()
    assert [text for text in demo.notices() if "since the engine is on another machine" in text]


def test_detached_habitat_has_no_agent_and_says_so(demo: DemoProject, agent: Path) -> None:
    runtime_start.start_detached(demo.run_anew(), "demo")
    assert (
        demo.notices()[-1] == "your SSH agent is lent to each shell and exec while that runs, and to nothing else in it"
    )
    assert sockets(demo) == []
    runtime_exec.execute(demo.run_anew(), "demo", ("ssh-add", "-l"), FakeTerminal(piped=True))
    assert demo.engine.commands[-1].env["SSH_AUTH_SOCK"].startswith("/run/ssh-agent/")


def test_socket_of_the_config_is_kept(demo: DemoProject, agent: Path) -> None:
    config = "base_image: base:1\nentry: {command: 'true', ssh_agent: true, env: [SSH_AUTH_SOCK=/own]}\n"
    write(demo.root, "habitats/demo/config.yaml", config)
    runtime_start.start(demo.run_anew(), "demo", FakeTerminal())
    assert demo.engine.commands[-1].env["SSH_AUTH_SOCK"] == "/own"


@pytest.mark.guarantee("host-commands-need-consent")
def test_agent_is_lent_after_agreement_unless_the_person_asked_for_it(
    demo: DemoProject, agent: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HABITATS_TRUST")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    with pytest.raises(Untrusted, match=r"config.yaml:2: demo uses the keys of your SSH agent while it runs"):
        runtime_start.start(demo.run_anew(), "demo", FakeTerminal())
    assert demo.engine.container("habitat-demo") is None
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    own = write(tmp_path, "xdg/habitats/config.yaml", "entry: {ssh_agent: true}\n")
    own.chmod(0o600)
    own.parent.chmod(0o700)
    (tmp_path / "other").mkdir()
    habitat = load(tmp_path / "other", "base_image: base:1\n")
    assert habitat.entry.ssh_agent
    assert requests_of(habitat) == ()


def test_clean_keeps_the_folder_of_a_container_and_removes_it_without_one(demo: DemoProject, agent: Path) -> None:
    runtime_start.start(demo.run_anew(), "demo", FakeTerminal())
    folder = agent_folder.folder(demo.project, demo.project.habitat("demo"))
    clean.clean_all(demo.run_anew(), "demo")
    assert folder.is_dir()
    demo.engine.remove("habitat-demo")
    for volume in demo.engine.volumes():
        demo.engine.remove_volume(volume.name)
    clean.clean_all(demo.run_anew(), "demo")
    assert not folder.parent.exists()


def test_sockets_of_killed_sessions_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lent_agent, "_NEW", -1)
    folder = tmp_path / ("x" * 100)
    folder.mkdir()
    descriptor = os.open(folder, os.O_PATH)
    with socket.socket(socket.AF_UNIX) as dead, socket.socket(socket.AF_UNIX) as alive:
        dead.bind(f"/proc/self/fd/{descriptor}/dead")
        alive.bind(f"/proc/self/fd/{descriptor}/alive")
        alive.listen()
        lent_agent._sweep(folder)
    os.close(descriptor)
    assert [path.name for path in folder.iterdir()] == ["alive"]
