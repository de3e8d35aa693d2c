"""`destroy`: what is in a habitat's containers is shown, then they go, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from fake_files import Node
from unit_helpers import DemoProject, FakeTerminal, built_demo, write

from phases.core.engine.types import Bind, Change, Container
from phases.core.errors import EngineError, StartError
from phases.core.runtime import clean
from phases.core.runtime import start as runtime_start
from phases.core.runtime.carry.changes import unkept_changes
from phases.core.runtime.destroy import destroy
from phases.ui.verbs import destroy as verb

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def demo(tmp_path: Path) -> DemoProject:
    return built_demo(tmp_path, "workspace: image\nentry: {command: 'true'}\n")


def start(demo: DemoProject, *, fresh: bool = False) -> str:
    """The id of the container it ran in."""
    runtime_start.start(demo.run_anew(), "demo", FakeTerminal(), fresh=fresh)
    return demo.container().id


def names(demo: DemoProject) -> list[str]:
    return sorted(container.name for container in demo.engine.containers())


def test_destroy_shows_changes_of_each_container_and_removes_all(demo: DemoProject) -> None:
    old = start(demo)
    new = start(demo, fresh=True)
    demo.engine.files(old).write("/work/thesis", "years")
    del demo.engine.files(old).nodes["/etc/group"]
    demo.engine.files(old).write("/etc/passwd", "x")
    asked: list[str] = []

    def agree(question: str) -> bool:
        asked.append(question)
        return True

    assert destroy(demo.run_anew(), "demo", agree)
    aside = next(line.split()[0] for line in demo.lines() if not line.startswith("habitat-demo "))
    assert demo.lines() == [
        "habitat-demo (stopped): nothing has changed in it since its image",
        f"{aside} (stopped): 1 added, 1 changed, 1 deleted: /etc/group, /etc/passwd, /work/thesis",
    ]
    assert asked == ["Remove these 2 containers, with all changes in them?"]
    assert [demo.engine.container(gone) for gone in (old, new)] == [None, None]
    assert "habitat-demo:final" in demo.engine.tags()
    assert demo.project.assess("demo").stale == {}


def test_destroy_answered_no_removes_nothing(demo: DemoProject) -> None:
    start(demo)
    assert not destroy(demo.run_anew(), "demo", lambda _: False)
    assert names(demo) == ["habitat-demo"]
    assert demo.notices() == ["nothing was removed"]


def test_destroy_set_aside_keeps_current_container_and_volumes(tmp_path: Path) -> None:
    demo = built_demo(tmp_path, "entry: {command: 'true', persist: [/srv/]}\n")
    start(demo)
    runtime_start.start(demo.run_anew(), "demo", FakeTerminal(), fresh=True)
    current, volumes = demo.container().id, demo.engine.volumes()
    assert len(names(demo)) == 2
    assert verb.run(demo.run_anew(), "demo", yes=True, set_aside=True) == 0
    assert (names(demo), demo.container().id, demo.engine.volumes()) == (["habitat-demo"], current, volumes)
    assert verb.run(demo.run_anew(), "demo", set_aside=True) == 0
    assert demo.notices() == ["demo has no container that was set aside: nothing to remove"]


def test_destroy_ignores_containers_of_others(demo: DemoProject) -> None:
    start(demo)
    demo.engine.create("habitat-demo:final", "habitat-demo-20260101-000000", ("x",))  # somebody's, of the image
    demo.engine.create("base:1", "habitat-demo2", ("x",), labels={"habitat.run": "demo2"})
    assert destroy(demo.run_anew(), "demo", lambda _: True)
    assert [line.split()[0] for line in demo.lines()] == ["habitat-demo"]
    assert names(demo) == ["habitat-demo-20260101-000000", "habitat-demo2"]


def test_destroy_without_containers_asks_nothing(demo: DemoProject) -> None:
    def refuse(_: str) -> bool:
        raise AssertionError

    assert destroy(demo.run_anew(), "demo", refuse)
    text = "demo has no container and no persistent volume: nothing to remove"
    assert demo.notices() == [f"{text}; its snapshots are kept: `doit clean demo` removes them"]
    assert destroy(demo.run_anew(), "demo", refuse, keep_volumes=True)
    assert demo.notices() == [
        "demo has no container: nothing to remove; its snapshots are kept: `doit clean demo` removes them"
    ]
    clean.clean_all(demo.run_anew(), "demo")
    assert destroy(demo.run_anew(), "demo", refuse)
    assert demo.notices() == [text]


def test_destroy_question_names_commands_of_others_in_container(demo: DemoProject) -> None:
    start(demo)
    demo.engine.start("habitat-demo")
    demo.engine.exec_tty("habitat-demo", ("/bin/sh",), user="root", workdir="/", env={}, size=(24, 80))
    destroy(demo.run_anew(), "demo", lambda _: False)
    (line,) = demo.lines()
    assert line.startswith("habitat-demo (running, in use by 1 other command): ")


def test_destroy_removes_start_record_of_detached_container(demo: DemoProject) -> None:
    runtime_start.start_detached(demo.run_anew(), "demo")
    assert destroy(demo.run_anew(), "demo", lambda _: True)
    assert list((demo.root / ".stamps/demo").glob("starts.*")) == []


def test_destroy_with_broken_config_removes_containers(demo: DemoProject) -> None:
    start(demo)
    write(demo.root, "habitats/demo/config.yaml", "setup: [")
    assert destroy(demo.run_anew(), "demo", lambda _: True)
    assert names(demo) == []


def test_destroy_without_terminal_requires_yes_option(demo: DemoProject) -> None:
    start(demo)
    with pytest.raises(StartError) as excinfo:
        verb.run(demo.run_anew(), "demo")
    assert str(excinfo.value) == (
        "demo: nothing was removed, since there is no terminal to ask on: `doit destroy:demo --yes` removes them"
    )
    assert names(demo) == ["habitat-demo"]
    assert verb.run(demo.run_anew(), "demo", yes=True) == 0
    assert names(demo) == []


def test_destroy_shows_reason_when_engine_cannot_list_changes(
    demo: DemoProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: str) -> list[Change]:
        raise EngineError("driver says no")

    start(demo)
    monkeypatch.setattr(demo.engine, "changes", fail)
    destroy(demo.run_anew(), "demo", lambda _: False)
    assert demo.lines() == ["habitat-demo (stopped): its changes can't be listed (driver says no)"]


def test_destroy_shortens_long_list_of_changes_but_shows_count(demo: DemoProject) -> None:
    start(demo)
    for number in range(10):
        demo.engine.files("habitat-demo").add(f"/work/{number}", Node("file"))
    destroy(demo.run_anew(), "demo", lambda _: False)
    assert demo.lines() == ["habitat-demo (stopped): 10 added: /work/0, /work/1, /work/2, /work/3, /work/4, …"]


def test_destroy_changes_omit_mounts_temporary_files_and_parent_folders() -> None:
    container = Container("id", "c", "image", running=False, binds=(Bind("/host", "/data/in", readonly=False),))
    changes = [
        Change("/data", "added"),
        Change("/data/in", "added"),
        Change("/data/in/file", "added"),
        Change("/data/input", "added"),
        Change("/home", "changed"),
        Change("/home/a", "changed"),
        Change("/run/lock", "added"),
        Change("/running", "added"),
        Change("/tmp", "changed"),
        Change("/tmp/x", "added"),
        Change("/var/gone", "deleted"),
    ]
    assert [change.path for change in unkept_changes(changes, container)] == [
        "/data/input",
        "/home/a",
        "/running",
        "/var/gone",
    ]


def test_destroy_removes_untagged_images_used_only_by_its_containers(demo: DemoProject) -> None:
    """A build replaces them, and can't remove what a container uses."""
    start(demo)
    write(demo.root, "habitats/demo/config.yaml", "base_image: base:1\nentry: {command: echo other}\n")
    assert demo.build() == ["final"]
    assert len([image for image in demo.engine.images() if not image.tags]) == 1
    project = demo.run_anew()
    assert destroy(project, "demo", lambda _: True)
    project.close()
    assert [image for image in demo.engine.images() if not image.tags] == []
    assert "habitat-demo:final" in demo.engine.tags()
