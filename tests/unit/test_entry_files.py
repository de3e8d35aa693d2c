"""`entry.files`: copied into a habitat's container before each start, and into no image."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
from fake_files import Node
from unit_helpers import DemoProject, FakeTerminal, built_demo, load, write

from phases.core.errors import ConfigError, HabitatError
from phases.core.runtime import exec as runtime_exec
from phases.core.runtime import start as runtime_start
from phases.core.runtime import stop as runtime_stop
from phases.core.runtime.persistence import unkept
from phases.registry import PHASES

if TYPE_CHECKING:
    from collections.abc import MutableMapping
    from pathlib import Path

BASE = "base_image: base:1\n"
FILE = "entry: {files: [{source: note, dest: ~/.note}], command: 'true'}\n"
TREE = "entry: {files: [{source: tree, dest: ~/.tree}], command: 'true'}\n"
PERSIST = "entry: {files: [{source: note, dest: ~/.kept/sub/note}], persist: [~/.kept/], command: 'true'}\n"


def demo_with(root: Path, text: str) -> DemoProject:
    write(root, "habitats/demo/note", "first")
    write(root, "habitats/demo/tree/sub/one", "1")
    return built_demo(root, text)


def start(demo: DemoProject) -> MutableMapping[str, Node]:
    """Start the habitat, and return the files of its container."""
    runtime_start.start(demo.run_anew(), "demo", FakeTerminal())
    return nodes(demo)


def nodes(demo: DemoProject) -> MutableMapping[str, Node]:
    return demo.engine._containers[demo.container().id].files.nodes


def error_of_start(demo: DemoProject) -> str:
    with pytest.raises(HabitatError) as caught:
        start(demo)
    return str(caught.value)


@pytest.mark.guarantee("entry-files-are-in-no-image")
def test_entry_files_are_copied_at_each_start_and_build_nothing(tmp_path: Path) -> None:
    demo = built_demo(tmp_path, "entry: {command: 'true'}\n")
    slices = {phase.NAME: phase.slice(demo.project.habitat("demo")) for phase in PHASES[2:]}
    start(demo)
    container = demo.container().id
    write(tmp_path, "habitats/demo/note", "first")
    write(tmp_path, "habitats/demo/config.yaml", BASE + FILE)
    assert demo.build() == []
    assert {phase.NAME: phase.slice(demo.project.habitat("demo")) for phase in PHASES[2:]} == slices
    there = start(demo)["/home/agent/.note"]
    assert (there.content, there.mode, there.uid, there.gid) == (b"first", 0o644, 1000, 1000)
    write(tmp_path, "habitats/demo/note", "second")
    assert demo.build() == []
    nodes(demo)["/home/agent/.note"] = Node("file", content=b"of the agent")
    assert start(demo)["/home/agent/.note"].content == b"second"
    assert demo.container().id == container
    assert all("/home/agent/.note" not in image.files.nodes for image in demo.engine._images.values())


def test_entry_files_owner_and_mode_are_those_of_entry(tmp_path: Path) -> None:
    text = "entry: {files: [{source: note, dest: /etc/x/, owner: root, mode: '0600'}], command: 'true'}\n"
    there = start(demo_with(tmp_path, text))
    assert (there["/etc/x/note"].mode, there["/etc/x/note"].uid) == (0o600, 0)
    assert (there["/etc/x"].kind, there["/etc/x"].uid) == ("dir", 0)


def test_entry_files_folder_leaves_out_what_habignore_names(tmp_path: Path) -> None:
    for name in (".npmrc", "keep", "sub/skip"):
        write(tmp_path, f"habitats/demo/tree/{name}", "x")
    write(tmp_path, "habitats/demo/.habignore", "skip\n")
    there = start(demo_with(tmp_path, TREE))
    assert {path for path in there if path.startswith("/home/agent/.tree/")} == {
        "/home/agent/.tree/keep",
        "/home/agent/.tree/sub",
        "/home/agent/.tree/sub/one",
    }


def test_entry_files_are_not_in_container_of_shell_at(tmp_path: Path) -> None:
    demo = demo_with(tmp_path, FILE)
    runtime_exec.shell(demo.run_anew(), "demo", FakeTerminal(piped=True), at="setup")
    assert all("/home/agent/.note" not in one.files.nodes for one in demo.engine._containers.values())


def test_entry_files_changed_while_container_runs_are_reported(tmp_path: Path) -> None:
    demo = demo_with(tmp_path, FILE)
    runtime_start.start_detached(demo.run_anew(), "demo")

    def notices() -> list[str]:
        runtime_exec.execute(demo.run_anew(), "demo", ("true",), FakeTerminal(piped=True))
        return [text for text in demo.notices() if "entry.files" in text]

    assert notices() == []
    write(tmp_path, "habitats/demo/note", "second")
    expected = "note (habitats/demo/config.yaml:2) changed while habitat-demo runs: copied at its next start"
    assert notices() == [f"entry.files: {expected}"]
    assert nodes(demo)["/home/agent/.note"].content == b"first"
    runtime_stop.stop(demo.run_anew(), "demo", force=True)
    runtime_start.start_detached(demo.run_anew(), "demo")
    assert nodes(demo)["/home/agent/.note"].content == b"second"
    assert notices() == []


def test_entry_files_reach_persistent_volume(tmp_path: Path) -> None:
    demo = demo_with(tmp_path, PERSIST)
    there = start(demo)
    assert there["/home/agent/.kept/sub/note"].content == b"first"
    assert there["/home/agent/.kept/sub"].uid == 1000


def test_entry_files_are_no_work_that_a_new_container_lacks(tmp_path: Path) -> None:
    demo = demo_with(tmp_path, "entry: {files: [{source: note, dest: ~/n}, {source: tree, dest: ~/t}], command: x}\n")
    there = start(demo)
    assert {"/home/agent/n", "/home/agent/t/sub/one"} <= there.keys()
    habitat = demo.project.habitat("demo")
    assert unkept.work_of(demo.project, habitat, demo.container()).files == 0
    there["/home/agent/t/mine"] = Node("file", content=b"work")
    assert unkept.work_of(demo.project, habitat, demo.container()).files == 1


# What USER may have left in a container that stopped


LINK = Node("link", 0o777, 1000, 1000, target="/etc")


@pytest.mark.guarantee("entry-files-follow-no-link-of-user")
@pytest.mark.parametrize(
    ("text", "planted", "link"),
    [
        (TREE, "/home/agent/.tree/sub", "/home/agent/.tree/sub is a link to /etc that USER may have made"),
        (TREE, "/home/agent/.tree", "/home/agent/.tree is a link to /etc that USER may have made"),
        (PERSIST, "/home/agent/.kept/sub", "/home/agent/.kept/sub on the way to /home/agent/.kept/sub/note is a link"),
    ],
)
def test_entry_files_behind_planted_link_are_refused(tmp_path: Path, text: str, planted: str, link: str) -> None:
    demo = demo_with(tmp_path, text)
    there = start(demo)
    etc = {path: node for path, node in there.items() if path.startswith("/etc")}
    for path in [path for path in there if path == planted or path.startswith(f"{planted}/")]:
        del there[path]
    there[planted] = LINK
    error = error_of_start(demo)
    assert error.startswith("habitats/demo/config.yaml:2: ")
    assert link in error
    assert error.endswith("start it without this entry and remove the link, or write another dest")
    assert not demo.container().running
    assert {path: node for path, node in nodes(demo).items() if path.startswith("/etc")} == etc


@pytest.mark.guarantee("entry-files-follow-no-link-of-user")
@pytest.mark.parametrize("planted", [Node("link", 0o777, 1000, 1000, target="/etc/passwd"), Node("fifo", 0o666, 1000)])
def test_entry_files_replace_planted_link_or_fifo_at_dest(tmp_path: Path, planted: Node) -> None:
    demo = demo_with(tmp_path, FILE)
    there = start(demo)
    passwd = there["/etc/passwd"]
    there["/home/agent/.note"] = planted
    there = start(demo)
    assert (there["/home/agent/.note"].kind, there["/home/agent/.note"].content) == ("file", b"first")
    assert there["/etc/passwd"] == passwd


def test_entry_files_link_over_folder_of_mount_is_refused(tmp_path: Path) -> None:
    demo = demo_with(tmp_path, "entry: {files: [{source: tree, dest: /srv}], persist: [/srv/x/data/], command: x}\n")
    start(demo)
    (tmp_path / "habitats/demo/tree/x").symlink_to("/etc")
    assert "/srv/x is a folder in habitat-demo, and a link is to be copied there" in error_of_start(demo)


@pytest.mark.parametrize(
    ("text", "planted", "kind", "problem"),
    [
        (FILE, ".note", "dir", "/home/agent/.note is a folder in habitat-demo, and a file is to be copied there"),
        (TREE, ".tree", "file", "/home/agent/.tree is a file in habitat-demo, and a folder is to be copied there"),
        (TREE, ".tree/sub", "file", "/home/agent/.tree/sub is a file in habitat-demo, and a folder"),
    ],
)
def test_entry_files_of_other_kind_than_what_is_there_are_refused(
    tmp_path: Path, text: str, planted: str, kind: str, problem: str
) -> None:
    demo = demo_with(tmp_path, text)
    there = start(demo)
    path = f"/home/agent/{planted}"
    for below in [one for one in there if one.startswith(f"{path}/")]:
        del there[below]
    there[path] = Node(kind, 0o755, 1000, 1000)
    assert problem in error_of_start(demo)


@pytest.mark.parametrize("dest", ["/run/secrets/x", "/proc/1/environ", "/dev/shm/x", "/etc/hosts", "/sys/x"])
def test_entry_files_at_hidden_place_are_refused(tmp_path: Path, dest: str) -> None:
    write(tmp_path, "habitats/demo/note", "x")
    with pytest.raises(ConfigError, match=rf"config.yaml:2: entry.files: note can't be copied to {dest}: "):
        load(tmp_path, f"{BASE}entry: {{files: [{{source: note, dest: {dest}}}]}}\n")


@pytest.mark.parametrize(
    ("volume", "entry"),
    [
        ("/data", "{source: note, dest: /data/x}"),
        ("/data", "{source: note, dest: /data}"),
        ("~/data", "{source: note, dest: ~/data/x}"),
        ("/t/sub", "{source: tree, dest: /t}"),
    ],
)
def test_entry_files_in_volume_are_refused_with_both_lines(tmp_path: Path, volume: str, entry: str) -> None:
    write(tmp_path, "habitats/demo/note", "x")
    write(tmp_path, "habitats/demo/tree/sub/one", "x")
    (tmp_path / "mounted").mkdir()
    text = f"{BASE}volumes: ['mounted:{volume}']\nentry:\n  files:\n  - {entry}\n"
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    assert str(caught.value).startswith("habitats/demo/config.yaml:5: entry.files: ")
    assert f"would be written to the host, since {volume} is a volume (habitats/demo/config.yaml:2)" in str(
        caught.value
    )


def test_entry_files_in_volume_by_link_of_image_are_refused_at_start(tmp_path: Path) -> None:
    (tmp_path / "mounted").mkdir()
    text = "volumes: ['mounted:/data']\nentry: {files: [{source: note, dest: /alias/x, owner: root}], command: x}\n"
    write(tmp_path, "habitats/demo/note", "x")
    demo = DemoProject(tmp_path, BASE + text)
    demo.engine._images[demo.base].files.add("/alias", Node("link", target="/data"))
    demo.build()
    error = error_of_start(demo)
    assert error.startswith("habitats/demo/config.yaml:3: entry.files: /data/x would be written to the host")


def test_entry_files_source_in_writable_volume_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "mounted/note", "x")
    text = f"{BASE}volumes: ['mounted:/data']\nentry: {{files: [{{source: mounted/note, dest: /x}}]}}\n"
    with pytest.raises(ConfigError, match=r"config.yaml:3: entry.files: mounted/note is in the volume mounted"):
        load(tmp_path, text)


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ("{source: gone, dest: /x}", "entry.files: there is neither habitats/demo/gone nor gone on the host"),
        ("{source: note, dest: ''}", "'' is not a path"),
        ("{source: note, dest: /x, mode: 9}", "mode '9' is not octal"),
        ("{source: note, dest: /x, owner: 'a b'}", "owner 'a b' is not a user name"),
        ("{source: note, dest: /x, after: setup}", "entry.files[0]: unknown key 'after'"),
        ("{source: note}", "entry.files[0]: 'dest' is missing"),
        ("note", "entry.files[0]: must be a mapping, is text"),
        ("{source: token, dest: /x}", "entry.files: token is the file of a secret, and would be in the container's"),
    ],
)
def test_entry_files_flaw_is_error_with_line(tmp_path: Path, entry: str, problem: str) -> None:
    for name in ("note", "token"):
        write(tmp_path, f"habitats/demo/{name}", "x")
    secret = "secrets: [{name: T, file: token, start: true}]\n"
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, f"{BASE}{secret}entry:\n  files:\n    - {entry}\n")
    assert str(caught.value).startswith(f"habitats/demo/config.yaml:5: {problem}")


def test_entry_files_unknown_owner_is_error_at_start(tmp_path: Path) -> None:
    demo = demo_with(tmp_path, "entry: {files: [{source: note, dest: /x, owner: nobody-here}], command: 'true'}\n")
    assert error_of_start(demo).startswith("habitats/demo/config.yaml:2: there is no user 'nobody-here' in the image")


def test_entry_files_source_gone_between_is_error(tmp_path: Path) -> None:
    demo = demo_with(tmp_path, TREE)
    start(demo)
    shutil.rmtree(tmp_path / "habitats/demo/tree")
    assert "there is neither habitats/demo/tree nor tree on the host" in error_of_start(demo)
