"""Containers that were set aside: what is dropped, a shell in one, and a way back."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest
from doit.exceptions import InvalidCommand
from test_carry_over import NETWORK, Dying
from test_replacement import CONFIG, KilledError, all_names, detach, start, work
from unit_helpers import DemoProject, FakeTerminal, built_demo, write

from phases.core.errors import Conflict, StartError
from phases.core.report import plan as report_plan
from phases.core.runtime import clean
from phases.core.runtime.carry import aside
from phases.ui.commands.arguments import as_tasks
from phases.ui.verbs.set_aside import prune

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.guarantee("set-aside-has-way-back")


@pytest.fixture
def demo(tmp_path: Path) -> DemoProject:
    """A habitat whose container of an earlier image was set aside with somebody's work."""
    demo = built_demo(tmp_path, "entry: {command: 'true'}\n")
    start(demo)
    demo.engine.files("habitat-demo").write("/work", "of a day")
    rebuild(demo, "b")
    start(demo)
    return demo


def rebuild(demo: DemoProject, value: str) -> None:
    write(demo.root, "habitats/demo/config.yaml", CONFIG % "" + f"env: [A={value}]\n")
    demo.build()


def other(demo: DemoProject) -> str:
    (name,) = {*all_names(demo)} - {"habitat-demo"}
    return name


def test_container_set_aside_is_named_with_what_to_do(demo: DemoProject) -> None:
    assert not work(demo)
    assert demo.notices()[-1] == (
        f"the container that was habitat-demo before is kept as {other(demo)}, since its image is out of date: "
        "`doit shell:demo --aside` opens a shell in it, `doit restore:demo` makes it the habitat's again, "
        "`doit prune:demo` removes such containers, after asking"
    )


def test_container_without_changes_is_removed_at_a_rebuild(demo: DemoProject) -> None:
    demo.engine.files("habitat-demo").write("/tmp/cache", "temporary")
    rebuild(demo, "c")
    start(demo)
    assert len(all_names(demo)) == 2
    assert "the container that was habitat-demo before is removed: nothing has changed in it since its image" in (
        demo.notices()
    )


def test_container_without_changes_that_start_new_replaces_is_kept(demo: DemoProject) -> None:
    start(demo, fresh=True)
    assert len(all_names(demo)) == 3


def test_shell_in_container_set_aside_leaves_it_aside(demo: DemoProject) -> None:
    name = other(demo)
    terminal = FakeTerminal(piped=True, typed=b"ls\n")
    demo.engine.on_execute = lambda command: (0, f"in {command.container.name}") if command.stdin else None
    assert aside.shell(demo.run_anew(), "demo", terminal, 1) == 0
    assert terminal.printed == [(f"in {name}".encode(), False)]
    assert (other(demo), [container.running for container in demo.engine.containers()]) == (name, [False, False])


def test_restored_container_is_the_habitats_and_stays_so(demo: DemoProject) -> None:
    name = other(demo)
    aside.restore(demo.run_anew(), "demo", 1)
    assert (work(demo), all_names(demo)) == (True, ["habitat-demo"])
    assert demo.notices() == [
        (
            f"habitat-demo is the container that was {name}; the one before had no changes, and is removed. "
            "`doit start:demo` uses it, `doit start:demo --new` makes one of today's image"
        )
    ]
    for _ in range(2):
        start(demo)
        assert (work(demo), all_names(demo)) == (True, ["habitat-demo"])
        assert demo.notices() == [
            "habitat-demo was restored, and has an older image: `doit start:demo --new` makes a container of today's"
        ]
    assert not report_plan.plan(demo.run_anew(), "demo").replaced
    start(demo, fresh=True)
    assert not work(demo)
    start(demo)
    assert (work(demo), demo.notices(), len(all_names(demo))) == (False, [], 2)


def test_restored_container_gets_changed_settings_with_its_files(demo: DemoProject) -> None:
    aside.restore(demo.run_anew(), "demo", 1)
    write(demo.root, "habitats/demo/config.yaml", CONFIG % NETWORK + "env: [A=b]\n")
    assert report_plan.plan(demo.run_anew(), "demo").replaced == "entry.network changed"
    for _ in range(2):
        start(demo)
        assert (work(demo), all_names(demo)) == (True, ["habitat-demo"])
    assert demo.engine._container("habitat-demo").restrictions.network == "none"


def test_container_with_changes_is_set_aside_for_the_restored_one(demo: DemoProject) -> None:
    demo.engine.files("habitat-demo").write("/newer", "work")
    aside.restore(demo.run_anew(), "demo", 1)
    assert (work(demo), "/newer" in demo.engine.files(other(demo)).nodes) == (True, True)
    aside.restore(demo.run_anew(), "demo", 1)
    assert (work(demo), "/newer" in demo.engine.files("habitat-demo").nodes) == (False, True)


def test_restore_of_container_in_use_is_refused(demo: DemoProject) -> None:
    detach(demo)
    process = demo.engine.exec_piped("habitat-demo", ["sleep", "inf"], user="root", workdir="/", env={})
    names = all_names(demo)
    with pytest.raises(Conflict, match=r"habitat-demo is in use by 1 other command: end that, or `doit stop:demo"):
        aside.restore(demo.run_anew(), "demo", 1)
    assert (work(demo), all_names(demo)) == (False, names)
    process.send_signal("KILL")
    process.close()


def test_number_counts_from_the_newest(demo: DemoProject) -> None:
    demo.engine.files("habitat-demo").write("/second", "work")
    start(demo, fresh=True)
    first, second = (row.name for row in reversed(aside.containers(demo.run_anew(), "demo")))
    assert "/work" in demo.engine.files(first).nodes
    with pytest.raises(StartError, match=rf"no container 3 .*choose one: 1 is {second}, 2 is {first}"):
        aside.restore(demo.run_anew(), "demo", 3)
    aside.restore(demo.run_anew(), "demo", 2)
    assert work(demo)


def test_without_container_set_aside_there_is_nothing_to_restore(tmp_path: Path) -> None:
    demo = built_demo(tmp_path, "entry: {command: 'true'}\n")
    with pytest.raises(StartError, match="no container was set aside"):
        aside.restore(demo.run_anew(), "demo", 1)


def test_restore_without_current_container(demo: DemoProject) -> None:
    demo.engine.remove("habitat-demo")
    aside.restore(demo.run_anew(), "demo", 1)
    assert (work(demo), all_names(demo)) == (True, ["habitat-demo"])


@pytest.mark.parametrize("with_changes", [True, False])
def test_restore_killed_at_any_request_loses_nothing(
    demo: DemoProject, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory, *, with_changes: bool
) -> None:
    if with_changes:
        demo.engine.files("habitat-demo").write("/newer", "work")
    for last in range(20):
        copy = demo.copy_to(tmp_path_factory.mktemp("copy"))
        with monkeypatch.context() as patch:
            run = Dying(copy.engine, patch, last)
            with contextlib.suppress(KilledError):
                aside.restore(copy.run_anew(), "demo", 1)
        if not run.is_dead:
            break
        start(copy)
        contents = [copy.engine.files(name).nodes for name in all_names(copy)]
        assert sum("/work" in nodes for nodes in contents) == 1
        assert sum("/newer" in nodes for nodes in contents) == with_changes
    assert last > 2


def test_prune_removes_what_was_set_aside(demo: DemoProject) -> None:
    current = demo.container().id
    with pytest.raises(StartError, match="`doit prune:demo --yes` removes them"):
        prune.run(demo.run_anew(), "demo")
    assert len(all_names(demo)) == 2
    assert prune.run(demo.run_anew(), "demo", yes=True) == 0
    assert (demo.container().id, all_names(demo)) == (current, ["habitat-demo"])
    assert any(": 1 added: /work" in line for line in demo.lines())
    assert [text.partition("-20")[0] for text in demo.notices()] == ["removed habitat-demo"], "the habitat has all else"


def test_clean_keeps_record_of_restored_container(demo: DemoProject) -> None:
    aside.restore(demo.run_anew(), "demo", 1)
    clean.clean_all(demo.run_anew(), "demo")
    assert (demo.root / ".stamps/demo/restored").exists()
    demo.engine.remove("habitat-demo")
    clean.clean_all(demo.run_anew(), "demo")
    assert not (demo.root / ".stamps/demo/restored").exists()


@pytest.mark.parametrize(
    ("typed", "tasks"),
    [
        ("restore demo", "restore:demo"),
        ("restore demo 2", "restore:demo --number 2"),
        ("restore 2 demo", "restore:demo --number 2"),
        ("restore:demo 2", "restore:demo --number 2"),
        ("restore 2", "restore:demo --number 2"),
        ("restore demo --number 2", "restore:demo --number 2"),
        ("shell demo --aside 2", "shell:demo --aside --number 2"),
        ("shell demo --aside", "shell:demo --aside"),
        ("shell --aside 3 demo", "shell:demo --aside --number 3"),
        ("shell:demo --aside 2 plan:demo", "shell:demo --aside --number 2 plan:demo"),
    ],
)
def test_number_behind_verb_is_its_option(typed: str, tasks: str) -> None:
    assert as_tasks(typed.split(), ["demo"]) == tasks.split()


def test_number_behind_verb_without_numbers_is_refused() -> None:
    with pytest.raises(InvalidCommand, match="there is no habitat '2'"):
        as_tasks(["stop", "demo", "2"], ["demo"])


def test_habitat_that_is_called_like_a_number_comes_first() -> None:
    assert as_tasks(["restore", "2", "1"], ["1", "2"]) == ["restore:2", "restore:1"]
