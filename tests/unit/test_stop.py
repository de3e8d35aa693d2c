"""`stop` and who is in a habitat, on the fake engine."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from unit_helpers import DemoProject, bring_up, built_demo

from phases.core import events
from phases.core.errors import Conflict
from phases.core.project import Project
from phases.core.runtime import stop as runtime_stop
from phases.core.runtime.session.open import open_session
from phases.core.runtime.session.presence import Presence

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def demo(tmp_path: Path) -> DemoProject:
    return built_demo(tmp_path)


def stop(demo: DemoProject, *, force: bool = False) -> str:
    """What stopping it says."""
    output: list[events.Event] = []
    project = Project(demo.root, lambda: demo.engine)
    project.bus.subscribe(output.append)
    runtime_stop.stop(project, "demo", force=force)
    (notice,) = [event for event in output if isinstance(event, events.Notice)]
    was_stopped = [event for event in output if isinstance(event, events.ContainerStopped)]
    assert was_stopped == ([events.ContainerStopped("demo", "habitat-demo")] if " is stopped" in notice.text else [])
    return notice.text


@contextmanager
def visit(demo: DemoProject) -> Iterator[None]:
    """Somebody is in it, who has no command in it yet."""
    with open_session(demo.run_anew(), "demo", bring_up):
        yield


def test_stop_container_not_running_is_no_error(demo: DemoProject) -> None:
    assert stop(demo) == "habitat-demo isn't running"
    with visit(demo):
        pass
    assert stop(demo) == "habitat-demo isn't running"


def test_stop_unused_container_is_stopped_and_kept(demo: DemoProject) -> None:
    with visit(demo):
        pass
    demo.engine.start("habitat-demo")
    assert stop(demo) == "habitat-demo is stopped"
    assert not demo.container().running


def test_stop_container_with_session_is_refused_and_names_pid(demo: DemoProject) -> None:
    with visit(demo):
        with pytest.raises(Conflict) as excinfo:
            stop(demo)
        assert demo.container().running
        message = str(excinfo.value)
    assert message.startswith(f"habitat-demo stays running: it is in use by doit with pid {os.getpid()} since ")
    assert message.endswith(": `doit stop:demo --force` stops it anyway")


def test_stop_container_with_foreign_command_is_refused(demo: DemoProject) -> None:
    with visit(demo):
        pass
    demo.engine.start("habitat-demo")
    demo.engine.exec_tty("habitat-demo", ("/bin/sh",), user="root", workdir="/", env={}, size=(24, 80))
    with pytest.raises(Conflict, match="it is in use by 1 other command: `doit stop:demo --force"):
        stop(demo)
    assert demo.container().running


def test_stop_force_stops_container_and_names_session(demo: DemoProject) -> None:
    with visit(demo):
        assert stop(demo, force=True).startswith("habitat-demo is stopped; it was in use by doit with pid")
        assert not demo.container().running


def test_stop_container_of_others_is_left_running(demo: DemoProject) -> None:
    demo.engine.create("base:1", "habitat-demo", ("/bin/sh", "-c", "sleep 600"))
    demo.engine.start("habitat-demo")
    with pytest.raises(Conflict, match="taken by another container"):
        stop(demo, force=True)
    assert demo.container().running


# Who is in it


def test_presence_lists_live_sessions_without_killed_ones(tmp_path: Path) -> None:
    one, two, asking = (Presence(tmp_path) for _ in range(3))
    one.join("c" * 64)
    (tmp_path / f"starts.{'c' * 12}").open("a").write("pid 4194305 since 10:00:00\n")
    two.join("c" * 64)
    with asking.alone():
        assert [line.split()[1] for line in asking.sessions("c" * 64)] == [str(os.getpid())] * 2


def test_presence_ignores_killed_session(tmp_path: Path) -> None:
    (tmp_path / f"starts.{'c' * 12}").write_text(f"pid {os.getpid()} since 10:00:00\n")
    asking = Presence(tmp_path)
    with asking.alone():
        assert asking.sessions("c" * 64) == []


@pytest.mark.parametrize("restarted", [False, True])
def test_presence_keep_running_lasts_until_container_is_restarted(tmp_path: Path, restarted: bool) -> None:
    one, two = Presence(tmp_path), Presence(tmp_path)
    one.join("c" * 64, was_started=True)
    one.keep_running()
    with one.leaving() as left:
        assert left == (True, True)
    two.join("c" * 64, was_started=restarted)
    with two.leaving() as left:
        assert left == (True, not restarted)
    assert [path.name for path in tmp_path.glob("starts.*")] == ([] if restarted else [f"starts.{'c' * 12}"])
