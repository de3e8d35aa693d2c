"""What a container has that no volume keeps: told before it is replaced, and before it is removed."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest
from test_repositories import commit, run_git
from unit_helpers import DemoProject, FakeTerminal, make_user, write

from phases.core.engine.types import Container, VolumeMount
from phases.core.errors import HabitatError
from phases.core.events.work import ContainerHolds, ContainerWork, RepositoryWork
from phases.core.report.plan import plan
from phases.core.runtime import start as runtime_start
from phases.core.runtime.carry import changes as carry_changes
from phases.core.runtime.carry.changes import UnkeptChanges, unkept_changes
from phases.core.runtime.destroy import destroy
from phases.core.runtime.persistence import unkept

if TYPE_CHECKING:
    from pathlib import Path

    from fake_engine import Command


class Working:
    """A habitat with the repository `project` in its WORKDIR. Its files are of the fake engine, but git runs here."""

    def __init__(self, tmp_path: Path) -> None:
        self.workdir = tmp_path / "work"
        self.project = self.workdir / "project"
        self.project.mkdir(parents=True)
        run_git(self.project, "init", "--quiet")
        commit(self.project)
        self.demo = DemoProject(tmp_path / "habitats", self.config())
        self.looks: list[str] = []
        self.demo.engine.on_execute = self.execute
        self.demo.build()
        self.start()

    def config(self, more: str = "") -> str:
        env = f"env: [USER=root, WORKDIR={self.workdir}{more}]\n"
        return f"base_image: base:1\nworkspace: image\n{env}entry: {{command: 'true'}}\n"

    def execute(self, command: Command) -> tuple[int, str | bytes] | None:
        if command.argv[0] != "env":
            return make_user(command)
        self.looks.append(command.container.name)
        result = subprocess.run(command.argv, input=command.stdin, capture_output=True, check=False)
        return result.returncode, result.stdout

    def start(self) -> None:
        runtime_start.start(self.demo.run_anew(), "demo", FakeTerminal())

    def change(self, *paths: str) -> None:
        for path in paths:
            self.demo.engine.files("habitat-demo").write(path, "x")

    def work(self) -> None:
        """A commit, and a changed file, which the container has."""
        (self.project / "file").write_text("2\n")
        self.change(f"{self.project}/.git/HEAD", f"{self.project}/.git/objects/ab/cd", f"{self.project}/file")

    def rebuild(self) -> None:
        write(self.demo.root, "habitats/demo/config.yaml", self.config(", A=b"))
        self.demo.build()

    def replacement(self) -> str:
        return next(text for text in self.demo.notices() if "will be replaced" in text)

    def images(self) -> set[str]:
        return {image.id for image in self.demo.engine.images()}


@pytest.fixture
def working(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Working:
    monkeypatch.setattr(carry_changes, "_TEMPORARY", ("/run",))  # the repository is in /tmp here
    return Working(tmp_path)


LACKS = "1 unpushed commit, 1 changed file in project (main), 1 changed file outside kept paths"


@pytest.mark.guarantee("replacement-names-work")
def test_start_names_work_in_stopped_container_before_it_is_replaced(working: Working) -> None:
    working.work()
    working.change("/root/notes")
    working.rebuild()
    images, names = working.images(), [c.name for c in working.demo.engine.containers()]
    working.start()
    assert f": the new one will lack {LACKS}; once that is ready" in working.replacement()
    (look,) = working.looks
    assert look.startswith("habitat_look_demo_")
    assert working.images() == images
    assert len(working.demo.engine.containers()) == len(names) + 1  # the old one, and its successor


@pytest.mark.guarantee("replacement-names-work")
def test_plan_names_work_and_removes_its_temporary_container_and_image(working: Working) -> None:
    working.work()
    working.change("/root/notes")
    working.rebuild()
    images, containers = working.images(), working.demo.engine.containers()
    project = working.demo.run_anew()
    planned = plan(project, "demo", with_work=True)
    repository = RepositoryWork(str(working.project), "main", unpushed=1, changed=1)
    assert planned.lacks == ContainerWork(files=1, repositories=[repository])
    assert (working.images(), working.demo.engine.containers()) == (images, containers)


def test_running_container_is_asked_itself(working: Working) -> None:
    working.demo.engine.start("habitat-demo")
    working.work()
    working.rebuild()
    plan(working.demo.run_anew(), "demo", with_work=True)
    assert working.looks == ["habitat-demo"]
    assert working.demo.engine.called("commit")[-1][1] != working.demo.container().id


@pytest.mark.parametrize("path", ["", "/root/notes"])
def test_no_repository_is_read_where_nothing_in_one_has_changed(working: Working, path: str) -> None:
    if path:
        working.change(path)
    working.rebuild()
    planned = plan(working.demo.run_anew(), "demo", with_work=True)
    assert planned.lacks == ContainerWork(files=1 if path else 0)
    assert working.looks == []


def test_nothing_is_read_where_nothing_is_replaced(working: Working) -> None:
    working.work()
    assert plan(working.demo.run_anew(), "demo", with_work=True).lacks is None
    working.start()
    assert working.looks == []


def test_failing_look_leaves_nothing_and_gives_a_notice(working: Working, monkeypatch: pytest.MonkeyPatch) -> None:
    working.work()
    working.rebuild()
    images, containers = working.images(), working.demo.engine.containers()
    start = working.demo.engine.start

    def fail(container: str) -> None:
        if "look" in working.demo.engine._container(container).name:
            raise HabitatError("no space left on device")
        start(container)

    monkeypatch.setattr(working.demo.engine, "start", fail)
    lacks = plan(working.demo.run_anew(), "demo", with_work=True).lacks
    assert lacks == ContainerWork(problem="no space left on device")
    assert (working.images(), working.demo.engine.containers()) == (images, containers)


def test_repository_on_volume_is_kept_over_a_replacement(working: Working) -> None:
    working.work()
    mount = VolumeMount("habitat-demo-work", str(working.workdir), copies=False)
    container = Container(working.demo.container().id, "c", "image", running=False, volumes=(mount,))
    project = working.demo.run_anew()
    habitat = project.habitat("demo")
    changes = project.engine.changes(container.id)
    assert unkept_changes(changes, container) == []
    none = UnkeptChanges()
    assert unkept.work_in(project, habitat, container, none) == unkept.Unkept(ContainerWork(), none)
    assert working.looks == []


def test_repository_is_read_where_not_all_changes_are_known(working: Working) -> None:
    working.work()
    project = working.demo.run_anew()
    work, _ = unkept.work_in(project, project.habitat("demo"), working.demo.container(), UnkeptChanges(more=7))
    assert (work.files, len(working.looks)) == (7, 0)  # the project isn't known: it was made by hand
    working.demo.engine.files("habitat-demo").write(f"{working.workdir}/.git", "gitdir: project/.git")
    unkept.work_in(project, project.habitat("demo"), working.demo.container(), UnkeptChanges(more=7))
    assert len(working.looks) == 1


def test_work_is_described_in_words_with_hostile_names_quoted() -> None:
    repositories = [
        RepositoryWork("/w/a", "main", unpushed=2, stashes=1, changed=3, operation="rebase"),
        RepositoryWork("/w/b\n\x1b[2J", "x y", changed=40, has_more=True),
        RepositoryWork("/elsewhere/c", stashes=2),
        RepositoryWork("/w/d", problem="git can't read it: fatal: \x1b[31m"),
    ]
    assert unkept.describe(ContainerWork(1, repositories), "/w").split(", ") == [
        "2 unpushed commits",
        "1 stash",
        "3 changed files and a rebase that was begun in a (main)",
        r'more than 40 changed files in "b\n\x1b[2J" ("x y")',
        "2 stashes in /elsewhere/c",
        r"what is in d (git can't read it: fatal: \x1b[31m)",
        "1 changed file outside kept paths",
    ]
    assert unkept.describe(ContainerWork()) == ""


@pytest.mark.guarantee("destroy-names-work-first")
def test_destroy_names_work_before_other_changes_and_containers(working: Working) -> None:
    working.work()
    working.change("/root/notes")
    runtime_start.start(working.demo.run_anew(), "demo", FakeTerminal(), fresh=True)
    images, containers = working.images(), working.demo.engine.containers()
    assert not destroy(working.demo.run_anew(), "demo", lambda _: False)
    aside, current = working.demo.lines()
    assert aside.endswith(" (stopped): 1 unpushed commit, 1 changed file in project (main); 1 added: /root/notes")
    assert current == "habitat-demo (stopped): nothing has changed in it since its image"
    holds = [event for event in working.demo.seen if isinstance(event, ContainerHolds)]
    assert holds[0].work.repositories == [RepositoryWork(str(working.project), "main", unpushed=1, changed=1)]
    assert (working.images(), working.demo.engine.containers()) == (images, containers)


def test_container_with_too_much_to_copy_is_not_read(working: Working, monkeypatch: pytest.MonkeyPatch) -> None:
    working.work()
    working.rebuild()
    monkeypatch.setattr(working.demo.engine, "changed_bytes", lambda _: 5 << 30)
    lacks = plan(working.demo.run_anew(), "demo", with_work=True).lacks
    assert lacks == ContainerWork(problem="5.0 GB were written in habitat-demo, too much to copy for a look")
    assert working.looks == []


def test_look_that_takes_seconds_is_announced(working: Working, monkeypatch: pytest.MonkeyPatch) -> None:
    working.work()
    working.rebuild()
    monkeypatch.setattr(working.demo.engine, "changed_bytes", lambda _: 1 << 30)
    assert plan(working.demo.run_anew(), "demo", with_work=True).lacks
    assert working.demo.notices() == ["reading the repositories in habitat-demo, which doesn't run, takes about 6s"]
