"""Starting a built habitat, on the fake engine."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from unit_helpers import Site, write

from phases.core import runtime
from phases.core.build_container import IDLE
from phases.core.errors import Conflict, EngineError, StartError

if TYPE_CHECKING:
    from pathlib import Path

    from phases.core.engine import Container, Exec


class FakeTerminal:
    """Keeps what is printed; a person in front of it types `typed`."""

    def __init__(self, *, interactive: bool = False, typed: bytes = b"exit 0\n") -> None:
        self.interactive = interactive
        self.typed = typed
        self.printed: list[tuple[bytes, bool]] = []
        self.size = (24, 80)

    def write(self, data: bytes, is_err: bool) -> None:
        self.printed.append((data, is_err))

    def hand_over(self, process: Exec) -> None:
        process.write(self.typed)
        while data := process.read():
            self.printed.append((data, False))


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return made(tmp_path, "entry: {command: echo hello}\n")


def made(root: Path, text: str) -> Site:
    site = Site(root, f"base_image: base:1\n{text}")
    site.build()
    return site


def start(site: Site, terminal: FakeTerminal | None = None) -> int:
    return runtime.start(site.run_anew(), "demo", terminal or FakeTerminal())


def container(site: Site) -> Container:
    found = site.engine.container("habitat-demo")
    assert found is not None
    return found


def test_the_command_runs_as_the_user_in_the_workdir(site: Site) -> None:
    terminal = FakeTerminal()
    assert start(site, terminal) == 0
    assert terminal.printed == [(b"hello\n", False)]
    command = site.engine.commands[-1]
    assert (command.argv, command.user, command.workdir) == (
        ("/bin/sh", "-c", "--", "echo hello"),
        "agent",
        "/workspace",
    )


@pytest.mark.parametrize("code", [0, 1, 42])
def test_the_exit_code_is_the_commands(tmp_path: Path, code: int) -> None:
    assert start(made(tmp_path, f"entry: {{command: exit {code}}}\n")) == code


def test_the_container_is_made_from_final_and_marked(site: Site) -> None:
    start(site)
    found = container(site)
    assert found.image == site.engine.tags()["habitat-demo:final"]
    assert found.labels["habitat.run"] == "demo"
    assert found.command == IDLE


def test_the_container_is_stopped_and_kept(site: Site) -> None:
    start(site)
    assert not container(site).running


def test_the_same_container_is_used_while_the_image_is_the_same(site: Site) -> None:
    start(site)
    first = container(site).id
    start(site)
    assert container(site).id == first
    assert len(site.engine.called("rename")) == 0


def test_a_container_of_an_older_image_is_kept_under_another_name(site: Site) -> None:
    start(site)
    old = container(site).id
    write(site.root, "habitats/demo/config.yaml", "base_image: base:1\nentry: {command: echo bye}\n")
    site.build()
    terminal = FakeTerminal()
    start(site, terminal)
    assert terminal.printed == [(b"bye\n", False)]
    assert container(site).id != old
    (aside,) = [c for c in site.engine.containers(name_prefix="habitat-demo-") if c.id == old]
    assert site.notices()[0] == (
        f"habitat-demo was made from an older image: kept as {aside.name}; "
        f"when you need nothing of it: docker rm {aside.name}"
    )


def test_two_containers_set_aside_in_one_second_have_names_of_their_own(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("phases.core.runtime.time.strftime", lambda *_: "20260101-000000")
    for word in ("one", "two", "three"):
        write(site.root, "habitats/demo/config.yaml", f"base_image: base:1\nentry: {{command: echo {word}}}\n")
        site.build()
        start(site)
    assert len(site.engine.containers(name_prefix="habitat-demo")) == 3


def test_a_name_taken_by_somebody_else_is_told(site: Site) -> None:
    site.engine.create("base:1", "habitat-demo", ("x",))
    with pytest.raises(Conflict) as caught:
        start(site)
    assert str(caught.value) == (
        "the container name habitat-demo is taken by a container of somebody else: "
        "rename that one: docker rename habitat-demo OTHER"
    )
    assert len(site.engine.containers()) == 1


def test_it_goes_on_while_somebody_else_is_in_it(site: Site) -> None:
    start(site)
    site.engine.start("habitat-demo")
    process = site.engine.execute_tty("habitat-demo", ("/bin/sh",), user="root", workdir="/", env={}, size=(24, 80))
    start(site)
    assert container(site).running
    assert site.notices() == ["habitat-demo goes on: somebody else is in it"]
    process.write(b"exit 0\n")
    process.close()
    start(site)
    assert not container(site).running


def test_it_stops_also_when_the_command_could_not_run(site: Site) -> None:
    site.engine.failures["execute"] = EngineError("no")
    with pytest.raises(EngineError):
        start(site)
    assert not container(site).running


def test_with_a_terminal_it_is_handed_over(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    write(site.root, "habitats/demo/config.yaml", "base_image: base:1\n")
    site.build()
    terminal = FakeTerminal(interactive=True, typed=b"exit 9\n")
    assert start(site, terminal) == 9
    command = site.engine.commands[-1]
    assert (command.argv, command.user, command.env["TERM"]) == (runtime._SHELL, "agent", "xterm")


def test_without_command_and_terminal_there_is_nothing_to_run(tmp_path: Path) -> None:
    site = made(tmp_path, "")
    assert start(site) == 0
    assert site.notices() == ["there is no entry.command and no terminal: nothing to run"]


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
def test_the_init_command_is_the_main_process(tmp_path: Path, init: str, process: tuple[str, ...]) -> None:
    site = made(tmp_path, f"entry: {{init_command: {json.dumps(init)}, command: 'true'}}\n")
    assert runtime._main_process(site.project.habitat("demo")) == process


def test_an_init_that_ends_is_told_with_what_it_printed(tmp_path: Path) -> None:
    site = made(tmp_path, "entry: {init_command: 'echo no database; exit 1', command: 'true'}\n")
    with pytest.raises(StartError) as caught:
        start(site)
    assert caught.value.output == ("no database",)
    assert str(caught.value) == (
        "demo: the init command ended: echo no database; exit 1: it has to go on running; see docker logs habitat-demo"
    )


def test_the_command_waits_for_the_init(tmp_path: Path) -> None:
    site = made(tmp_path, "entry: {startup_delay: 0.1, command: echo hello}\n")
    start(site)
    assert site.notices() == ["giving its init 0.1s"]


def test_a_container_that_cannot_start_is_told(site: Site) -> None:
    site.engine.failures["start"] = EngineError("port is taken")
    with pytest.raises(StartError) as caught:
        start(site)
    assert str(caught.value) == (
        "demo: container habitat-demo can't be started (port is taken): see what it says is missing or taken"
    )


def test_volumes_are_there_while_it_runs(tmp_path: Path) -> None:
    write(tmp_path, "habitats/demo/data/note", "from the host")
    text = "volumes: [{source: data, dest: /data}]\nentry: {command: cat /data/note}\n"
    terminal = FakeTerminal()
    start(made(tmp_path, text), terminal)
    assert terminal.printed == [(b"from the host", False)]
