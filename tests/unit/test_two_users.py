"""Two users of one engine, each with a clone of his own: neither sees the other's files, both have one container."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from conftest import clones_of_one_repository
from unit_helpers import DemoProject, FakeTerminal

from phases.core import events
from phases.core.engine import lock_volumes
from phases.core.errors import Conflict, StartError
from phases.core.files import processes
from phases.core.files.processes import Process
from phases.core.runtime import container as runtime_container
from phases.core.runtime import exec as runtime_exec
from phases.core.runtime import start as runtime_start
from phases.core.runtime.exec import find_or_start
from phases.core.runtime.session import ready
from phases.core.runtime.session.open import open_session

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CONFIG = "base_image: base:1\nentry: {{command: echo hello, persist: {persist}}}\n"


@pytest.fixture(params=["[]", "[/root/kept/, /root/file]"], ids=["plain", "persist"])
def users(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[DemoProject, DemoProject]:
    monkeypatch.setattr(runtime_container, "_PAUSE", 0.01)
    return pair(tmp_path, request.param)


def pair(root: Path, persist: str = "[]") -> tuple[DemoProject, DemoProject]:
    config = CONFIG.format(persist=persist)
    clones_of_one_repository(root / "one", root / "two")
    one, two = DemoProject(root / "one", config), DemoProject(root / "two", config)
    one.build()
    two.engine = one.engine
    two.run_anew()
    two.build()
    return one, two


def start(demo: DemoProject, **options: Any) -> list[tuple[bytes, bool]]:
    terminal = FakeTerminal()
    assert runtime_start.start(demo.run_anew(), "demo", terminal, **options) == 0
    return terminal.printed


def once(
    demo: DemoProject, monkeypatch: pytest.MonkeyPatch, method: str, act: Callable[[], object], when: str = ""
) -> None:
    """Before the first call of the engine's `method` about `when`, somebody does something."""
    plain = getattr(demo.engine, method)
    done: list[bool] = []

    def call(*args: Any, **options: Any) -> Any:
        if not done and when in str(args):
            done.append(True)
            act()
        return plain(*args, **options)

    monkeypatch.setattr(demo.engine, method, call)


def named_ours(demo: DemoProject) -> list[str]:
    return sorted(container.name for container in demo.engine.containers())


@pytest.mark.guarantee("two-users-share-one-container")
def test_start_container_created_meanwhile_by_other_user_is_joined(
    users: tuple[DemoProject, DemoProject], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = users
    with open_session(two.run_anew(), "demo", find_or_start):
        made = one.engine.container("habitat-demo")
        assert made
        one.engine.rename(made.id, "elsewhere")  # it isn't there yet when the other looks
        method, when = ("rename", "'habitat-demo'") if "kept" in str(made.labels) else ("create", "'habitat-demo'")
        once(one, monkeypatch, method, lambda: setattr(one.engine._container(made.id), "name", "habitat-demo"), when)
        assert start(one) == [(b"hello\n", False)]
        assert named_ours(one) == ["habitat-demo"]
        container = one.engine.container("habitat-demo")
        assert container
        assert container.id == made.id


@pytest.mark.guarantee("two-users-share-one-container")
def test_start_new_by_two_users_at_once_makes_one_container(
    users: tuple[DemoProject, DemoProject], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the one that was made is not set aside at once by who came second."""
    one, two = users
    start(one)
    once(one, monkeypatch, "rename", lambda: start(two, fresh=True), one.container().id)
    assert start(one, fresh=True) == [(b"hello\n", False)]
    assert len(named_ours(one)) == 2
    assert [text for text in one.notices() if "kept as" in text] == []


def test_start_container_removed_repeatedly_is_one_line_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime_container, "_PAUSE", 0)
    one, _ = pair(tmp_path)
    one.engine.failures["create"] = Conflict("the name is already in use")
    with pytest.raises(Conflict) as excinfo:
        start(one)
    assert str(excinfo.value) == (
        "demo: another run keeps changing the container habitat-demo: "
        "see docker ps --all, then run the same command again"
    )


@pytest.mark.guarantee("two-users-share-one-container")
@pytest.mark.parametrize("method", ["exec", "container"])
def test_start_container_stopped_by_other_user_before_command_is_restarted(
    users: tuple[DemoProject, DemoProject], monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """He has left it: nobody was in it, as far as he could see."""
    one, two = users
    start(one)
    one.engine.start("habitat-demo")
    when = "echo hello" if method == "exec" else one.engine._container("habitat-demo").id
    once(one, monkeypatch, method, lambda: one.engine.stop("habitat-demo"), when)
    assert start(two) == [(b"hello\n", False)]
    ups = [event for event in two.seen if isinstance(event, events.ContainerUp)]
    assert ups[-1].was_running is False


def test_exec_container_stopped_by_other_user_before_command_is_restarted(
    users: tuple[DemoProject, DemoProject], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = users
    start(one)
    one.engine.start("habitat-demo")
    once(one, monkeypatch, "exec_piped", lambda: one.engine.stop("habitat-demo"))
    terminal = FakeTerminal(piped=True, typed=b"typed\n")
    assert runtime_exec.execute(two.run_anew(), "demo", ["echo", "hello"], terminal) == 0
    assert terminal.printed == [(b"hello\n", False)]


def test_start_container_stopped_twice_before_command_is_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, _ = pair(tmp_path)

    def refuse(*_: Any, **__: Any) -> int:
        one.engine.stop("habitat-demo")
        raise Conflict("is not running")

    monkeypatch.setattr(one.engine, "exec", refuse)
    with pytest.raises(StartError, match="container habitat-demo was stopped"):
        start(one)


def test_start_with_ended_init_is_not_repeated(tmp_path: Path) -> None:
    """One's own container, which nobody else has stopped."""
    demo = DemoProject(tmp_path, "base_image: base:1\nentry: {init_command: 'echo no; exit 1', command: x}\n")
    demo.build()
    with pytest.raises(StartError, match="the init command ended"):
        start(demo)
    assert [call[2] for call in demo.engine.called("create")].count("habitat-demo") == 1
    assert len(demo.engine.called("start")) == 2, "the build's, and this one"


@pytest.mark.guarantee("two-users-share-one-container")
def test_session_end_during_command_of_other_user_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While what persists is taken in."""
    one, _ = pair(tmp_path, "[/root/file]")
    begun: list[Any] = []

    def begin() -> None:
        begun.append(one.engine.exec_piped("habitat-demo", ["cat"], user="root", workdir="/", env={}))

    with open_session(one.run_anew(), "demo", find_or_start):
        once(one, monkeypatch, "exec_piped", begin)
    assert begun
    assert one.engine.container("habitat-demo").running  # type: ignore[union-attr]
    begun[0].send_signal("KILL")


# Who is in it, and who stops it


def test_session_end_while_other_user_is_idle_stops_nothing(tmp_path: Path) -> None:
    """He waits until it is ready, say: nothing of his runs in it."""
    one, two = pair(tmp_path)
    first = open_session(one.run_anew(), "demo", find_or_start)
    first.__enter__()
    with open_session(two.run_anew(), "demo", find_or_start):
        first.__exit__(None, None, None)
        assert one.engine.container("habitat-demo").running  # type: ignore[union-attr]
    assert not one.engine.container("habitat-demo").running  # type: ignore[union-attr]
    assert one.notices()[-1] == "habitat-demo stays running: another session is using it"


def test_session_end_of_joined_user_keeps_container_for_waiting_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ready, "wait", lambda *_, **__: None)
    config = "base_image: base:1\nentry: {command: echo hello, startup_delay: 5}\n"
    one, two = DemoProject(tmp_path / "one", config), DemoProject(tmp_path / "two", config)
    one.build()
    two.engine = one.engine
    two.run_anew()
    two.build()
    with open_session(one.run_anew(), "demo", find_or_start):
        with open_session(two.run_anew(), "demo", find_or_start):
            pass
        assert one.engine.container("habitat-demo").running  # type: ignore[union-attr]
    assert not one.engine.container("habitat-demo").running  # type: ignore[union-attr]
    assert one.engine.volumes(label=lock_volumes.LABEL_LOCK) == []


def test_session_ends_of_many_users_at_once_stop_container(tmp_path: Path) -> None:
    sites = pair(tmp_path)
    for _ in range(5):
        visits = [open_session(demo.run_anew(), "demo", find_or_start) for demo in sites]
        for visit in visits:
            visit.__enter__()
        threads = [threading.Thread(target=visit.__exit__, args=(None, None, None)) for visit in visits]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert not sites[0].engine.container("habitat-demo").running  # type: ignore[union-attr]


def test_start_during_stop_by_other_user_waits_and_restarts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine lets commands begin in a container until it has ended, and then kills them."""
    one, two = pair(tmp_path)
    stop, stopping = one.engine.stop, threading.Event()

    def slowly(container: str, grace: int = 10) -> None:
        stopping.set()
        time.sleep(0.5)
        stop(container, grace)

    first = open_session(one.run_anew(), "demo", find_or_start)
    first.__enter__()
    monkeypatch.setattr(one.engine, "stop", slowly)
    leaving = threading.Thread(target=first.__exit__, args=(None, None, None))
    leaving.start()
    assert stopping.wait(10)
    assert start(two) == [(b"hello\n", False)]
    leaving.join(10)
    ups = [event for event in two.seen if isinstance(event, events.ContainerUp)]
    assert [event.was_running for event in ups] == [False]


# Throwaway containers


def left_by(demo: DemoProject, process: str, *, running: bool = False, minutes: float = 0, execs: int = 0) -> str:
    name = demo.project.temporary_containers.prefix("shell", "demo") + process
    container = demo.engine._container(demo.engine.create("base:1", name, ("x",)))
    container.running, container.since = running, datetime.now(UTC) - timedelta(minutes=minutes)
    if execs:
        demo.engine.exec_piped(container.id, ["cat"], user="root", workdir="/", env={})
    return name


def test_temporary_container_of_killed_run_is_removed(tmp_path: Path) -> None:
    demo = DemoProject(tmp_path)
    now = processes.current()
    left_by(demo, str(Process(now.machine, now.pid, "1")), running=True)
    mine = left_by(demo, str(now), running=True)
    demo.project.temporary_containers.sweep("shell", "demo")
    assert named_ours(demo) == [mine]


@pytest.mark.guarantee("only-leftovers-of-ended-processes")
@pytest.mark.parametrize("process", ["elsewhere-1-1", "12345", "whatever"])
@pytest.mark.parametrize(
    ("state", "stays"),
    [
        ({"minutes": 9}, True),
        ({"minutes": 11}, False),
        ({"minutes": 9, "running": True}, True),
        ({"minutes": 11, "running": True}, False),
        ({"minutes": 999, "running": True, "execs": 1}, True),
    ],
)
def test_temporary_container_of_other_machine_is_removed_when_old_and_idle(
    tmp_path: Path, process: str, state: dict[str, Any], stays: bool
) -> None:
    demo = DemoProject(tmp_path)
    name = left_by(demo, process, **state)
    demo.project.temporary_containers.sweep("shell", "demo")
    assert named_ours(demo) == ([name] if stays else [])
