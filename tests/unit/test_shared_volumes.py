"""`shared: true` in `entry.persist`: one volume for all habitats of a person."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest
from fake_files import Node
from unit_helpers import DemoProject, FakeTerminal, load, write

from phases.core.errors import ConfigError
from phases.core.runtime import orphans
from phases.core.runtime import start as runtime_start
from phases.core.runtime.destroy import destroy
from phases.core.runtime.persistence import shared
from phases.core.runtime.persistence.volumes import shared_volume_name, volume_name
from phases.core.runtime.session import instructions

if TYPE_CHECKING:
    from pathlib import Path

    from fake_engine import Command

HOME = "/home/agent"
OWN = "base_image: base:1\nentry:\n  command: 'true'\n  persist: [~/.agent/]\n"
SHARED = OWN.replace("~/.agent/", "{path: ~/.agent/, shared: true}")


@pytest.fixture
def demo(tmp_path: Path) -> DemoProject:
    demo = DemoProject(tmp_path / "one", SHARED)
    demo.engine.files("base:1").add(HOME, Node("dir", 0o755, 1000, 1000))
    demo.build()
    return demo


def start(demo: DemoProject, during: str = "", *, fresh: bool = False) -> None:
    """Start it; its command writes a login."""

    def on_execute(command: Command) -> tuple[int, str] | None:
        files = command.container.files
        if "cp -a" in str(command.script):
            source, target, _ = command.args
            for path, node in [*files.nodes.items()]:
                if path.startswith(f"{source}/"):
                    files.nodes[f"{target}{path.removeprefix(source)}"] = node
            return 0, ""
        if command.script != "true":
            return None
        if during:
            files.nodes[f"{HOME}/.agent/login"] = Node("file", 0o600, 1000, 1000, during.encode())
        return 0, ""

    before, demo.engine.on_execute = demo.engine.on_execute, on_execute
    runtime_start.start(demo.run_anew(), "demo", FakeTerminal(), fresh=fresh)
    demo.engine.on_execute = before


def login(demo: DemoProject) -> str:
    node = demo.engine.files("habitat-demo").find(f"{HOME}/.agent/login")
    return node.content.decode() if node else ""


def configure(demo: DemoProject, text: str) -> None:
    write(demo.root, "habitats/demo/config.yaml", text)
    assert demo.build() == []


def names(demo: DemoProject) -> list[str]:
    return [volume.name for volume in demo.engine.volumes(label="habitat.persist")]


def volume() -> str:
    return shared_volume_name(shared.person(), "~/.agent/", (1000, 1000))


def other_project(demo: DemoProject, tmp_path: Path, text: str = SHARED) -> DemoProject:
    """A habitat `demo2` of another project on the same engine."""
    other = DemoProject(tmp_path / "two", text)
    other.engine = demo.engine
    write(other.root, "shared/config.yaml", "project: other\n")
    other.build()
    return other


@pytest.mark.guarantee("shared-volume-is-one-for-a-person")
def test_login_of_one_habitat_is_there_in_another_project(demo: DemoProject, tmp_path: Path) -> None:
    start(demo, "token")
    assert names(demo) == [volume()]
    other = other_project(demo, tmp_path)
    start(other)
    assert names(demo) == [volume()]
    container = demo.engine.container("habitat-other.demo")
    assert container
    node = demo.engine.files(container.name).find(f"{HOME}/.agent/login")
    assert node
    assert node.content == b"token"
    assert orphans.orphans(demo.run_anew()) == []


@pytest.mark.guarantee("shared-volume-is-one-for-a-person")
def test_people_and_users_with_other_numbers_have_volumes_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = volume()
    assert mine.startswith("habitat-shared-")
    assert shared_volume_name(shared.person(), "~/.agent/", (1001, 1001)) != mine
    assert shared_volume_name(shared.person(), "~/.other/", (1000, 1000)) != mine
    monkeypatch.setattr("os.geteuid", lambda: 987_654)
    assert shared.person() == "987654"
    assert volume() != mine
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setenv("SUDO_UID", "987654")
    assert shared.person() == "987654"


@pytest.mark.guarantee("shared-volume-takes-over-what-was-kept")
def test_path_that_is_shared_takes_over_what_the_habitat_kept(demo: DemoProject, tmp_path: Path) -> None:
    configure(demo, OWN)
    start(demo, "earlier")
    own = volume_name("demo", "~/.agent/")
    assert names(demo) == [own]
    configure(demo, SHARED)
    start(demo)
    assert "~/.agent/ is shared with your other habitats now, with what this one kept there" in demo.notices()
    assert login(demo) == "earlier"
    assert names(demo) == sorted([own, volume()])
    configure(demo, f"{OWN}  limits: {{pids: 99}}\n")  # or the container from before would be used again
    start(demo)
    assert f"~/.agent/ is shared no longer: this habitat has its own, and {volume()} stays" in demo.notices()
    assert login(demo) == "earlier"


@pytest.mark.guarantee("shared-volume-takes-over-what-was-kept")
def test_shared_volume_with_a_login_is_not_overwritten(demo: DemoProject, tmp_path: Path) -> None:
    start(demo, "of all")
    other = other_project(demo, tmp_path, OWN)
    start(other, "of one")
    write(other.root, "habitats/demo/config.yaml", SHARED)
    start(other)
    own = volume_name("other.demo", "~/.agent/")
    text = f"~/.agent/ is shared with your other habitats; what this one kept is unused, in {own}"
    assert text in other.notices()
    node = demo.engine.files("habitat-other.demo").find(f"{HOME}/.agent/login")
    assert node
    assert node.content == b"of all"
    assert own in names(demo)


def test_copy_that_was_killed_is_made_again(demo: DemoProject) -> None:
    configure(demo, OWN)
    start(demo, "earlier")
    configure(demo, SHARED)
    start(demo)
    files = demo.engine.files("habitat-demo")
    files.nodes[f"{HOME}/.agent/{shared._PARTLY}"] = Node("file", 0o600)
    files.nodes[f"{HOME}/.agent/login"] = Node("file", 0o600, 1000, 1000, b"half")
    start(demo, fresh=True)
    assert [text for text in demo.notices() if "with what this one kept there" in text]


@pytest.mark.guarantee("shared-volume-is-one-for-a-person")
def test_destroy_keeps_the_shared_volume_unless_asked_for_it(demo: DemoProject) -> None:
    start(demo, "token")
    demo.engine.on_execute = lambda _: (0, "")
    assert destroy(demo.run_anew(), "demo", lambda _: True)
    assert "~/.agent/ is shared: `doit destroy:demo --shared` removes it for all" in demo.notices()[-1]
    assert names(demo) == [volume()]
    assert destroy(demo.run_anew(), "demo", lambda _: True, with_shared=True)
    assert f"~/.agent/: volume {volume()}, shared with your other habitats, since 2026-01-01" in demo.lines()
    assert names(demo) == []


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ("{path: ~/.agent.json, shared: true}", "~/.agent.json is a file, and only a folder can be shared"),
        ("{path: ~/.agent/, shared: maybe}", "entry.persist[0].shared: must be true or false"),
        ("{shared: true}", "path"),
        ("{path: ~/.agent/, share: true}", "unknown key 'share': did you mean 'shared'?"),
        ("{path: ~/, shared: true}", "the build puts files there"),
    ],
)
def test_shared_path_that_cannot_be_is_refused_with_line(tmp_path: Path, entry: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, f"base_image: base:1\nentry:\n  persist:\n    - {entry}\n")
    assert str(caught.value).startswith("habitats/demo/config.yaml:4: ")
    assert problem in str(caught.value)


def test_path_of_a_later_layer_decides_whether_it_is_shared(tmp_path: Path) -> None:
    write(tmp_path, "shared/config.yaml", "entry: {persist: [{path: ~/.agent/, shared: true}]}\n")
    habitat = load(tmp_path, "base_image: base:1\nentry: {persist: [~/.agent/]}\n")
    assert [(one.path, one.shared) for one in habitat.entry.persist] == [("~/.agent/", False)]


@pytest.mark.guarantee("instructions-assembled")
def test_instructions_in_a_shared_folder_are_each_habitats_own(tmp_path: Path) -> None:
    """As in a habitat: the program runs with two homes that share a folder."""
    shared_folder = tmp_path / "shared"
    shared_folder.mkdir()
    (shared_folder / "AGENTS.md").write_text("from before\n")

    def put(home: str, text: str) -> str:
        own, file = tmp_path / home / "own/AGENTS.md", shared_folder / "AGENTS.md"
        block = f"{instructions._BEGIN}\n{text}\n{instructions._END}\n" if text else ""
        words = (instructions._BEGIN, instructions._END, str(own), str(file))
        argv = ("/bin/sh", "-e", "-c", "--", instructions._WRITE.text, "sh", str(len(block.encode())), *words)
        subprocess.run(argv, input=block.encode(), check=True)
        return own.read_text() if own.exists() else ""

    for _ in range(2):
        link = put("one", "of one")
        assert "of one" in link
        assert "from before" in link
        assert (shared_folder / "AGENTS.md").readlink() == tmp_path / "one/own/AGENTS.md"
    assert "of one" not in put("two", "of two")
    assert put("three", "") == ""
