"""Old images are removed while the run continues, and a slow engine is named."""

from __future__ import annotations

import threading
import time
from functools import partial
from typing import TYPE_CHECKING

import pytest
from fake_engine import FakeEngine
from unit_helpers import DemoProject

from phases.core import events
from phases.core.cache import image_labels
from phases.core.engine import timeouts
from phases.core.engine.background import BackgroundRemover, BackgroundTasks, ContainerCreator
from phases.core.engine.timeouts import RequestTimer, ResponseTimeout
from phases.core.errors import EngineError, HabitatError
from phases.core.project.connection import EngineConnection

if TYPE_CHECKING:
    from pathlib import Path

CONFIG = "base_image: base:1\nsetup: {{root: [echo {}]}}\n"


def rebuilt(root: Path) -> DemoProject:
    """A project that is built, and whose setup has changed since."""
    demo = DemoProject(root, CONFIG.format("one"))
    demo.build()
    (root / "habitats/demo/config.yaml").write_text(CONFIG.format("two"))
    return demo


@pytest.mark.guarantee("old-images-removed-during-run")
def test_slow_removal_of_old_images_does_not_hold_up_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    demo = rebuilt(tmp_path)
    engine, before = demo.engine, set(demo.engine._images)
    may_remove = threading.Event()
    collect = engine._collect

    def slow_collect(image: str) -> None:
        if image in engine._images and not engine._tags_of(image) and not engine._needed(image):
            assert threading.current_thread() is not threading.main_thread(), "this removes layers"
            assert may_remove.wait(20)
        collect(image)

    monkeypatch.setattr(engine, "_collect", slow_collect)
    started = threading.Timer(1.0, may_remove.set)
    emitted: list[events.Event] = []
    monkeypatch.setattr(timeouts, "SILENCE", 0.1)
    monkeypatch.setattr("phases.core.project.connection.SILENCE", 0.1)
    started.start()
    demo.build()
    emitted = demo.seen
    finished = [event for event in emitted if isinstance(event, events.PhaseFinished)]
    assert finished[-1].phase == "final"
    (text,) = [text for text in demo.notices() if "old images" in text]
    assert text == "waiting for the engine to remove old images; Ctrl-C leaves them to the next run"
    assert emitted.index(finished[-1]) < next(i for i, e in enumerate(emitted) if getattr(e, "text", "") == text)
    assert not [tag for tag in engine.tags() if image_labels.REMOVED in tag]
    assert len(engine._images) <= len(before), "nothing of the old build is left"


def test_killed_run_leaves_images_to_next_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    demo = rebuilt(tmp_path)
    engine, size = demo.engine, len(demo.engine._images)
    with monkeypatch.context() as patch:
        patch.setattr(BackgroundTasks, "add", lambda *_: None)  # as if the process had ended before
        demo.build()
    assert [tag for tag in engine.tags() if image_labels.REMOVED in tag]
    (tmp_path / "habitats/demo/config.yaml").write_text(CONFIG.format("three"))
    demo.build()
    assert not [tag for tag in engine.tags() if image_labels.REMOVED in tag]
    assert len(engine._images) == size


def test_refused_removal_is_warning_and_build_succeeds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    demo = rebuilt(tmp_path)
    untag = demo.engine.untag

    def refuse(tag: str) -> None:
        if image_labels.REMOVED in tag:
            raise EngineError("removing it: the disk is read-only")
        untag(tag)

    monkeypatch.setattr(demo.engine, "untag", refuse)
    assert demo.build()[-1] == "final"
    (text,) = [text for text in demo.notices() if "read-only" in text]
    assert text.endswith("the next run that builds the habitat does that")


def test_background_tasks_run_in_order_and_wait_ends_with_last() -> None:
    seen: list[int] = []
    errors: list[HabitatError] = []
    tasks = BackgroundTasks(errors.append)

    def fail() -> None:
        raise HabitatError("no")

    assert tasks.wait(0)

    def note(number: int) -> None:
        time.sleep(0.02)
        seen.append(number)

    for number in range(5):
        tasks.add(partial(note, number))
    tasks.add(fail)
    assert not tasks.wait(0.001)
    assert tasks.wait(5)
    assert seen == [0, 1, 2, 3, 4]
    assert [str(error) for error in errors] == ["no"]
    tasks.add(lambda: time.sleep(0.2))
    tasks.add(lambda: seen.append(9))
    tasks.drop()
    assert tasks.wait(5)
    assert 9 not in seen


# Waits


@pytest.mark.parametrize(("in_phase", "seconds"), [(False, 2), (True, 10)])
def test_wait_outside_of_phase_is_reported_after_two_seconds(in_phase: bool, seconds: int) -> None:
    timeout = ResponseTimeout()
    if in_phase:
        with timeout.in_phase():
            assert timeout.silence == seconds
    assert timeout.silence == 2


def test_engine_that_is_slow_to_connect_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("phases.core.project.connection.SILENCE", 0.05)
    reported: list[str] = []

    def connect() -> FakeEngine:
        time.sleep(0.3)
        return FakeEngine()

    assert EngineConnection(connect, ContainerCreator(), reported.append).engine
    assert reported == ["still waiting for the engine to answer; Ctrl-C ends the run"]
    reported.clear()
    assert EngineConnection(FakeEngine, ContainerCreator(), reported.append).engine
    time.sleep(0.1)
    assert reported == []


def test_run_that_ends_gives_up_on_silent_engine_within_two_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """One request was on its way, and five more are sent while the run cleans up."""
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    timeout = ResponseTimeout()
    timers = [RequestTimer(timeout, "one")]

    def silent() -> None:
        nonlocal now
        now += 0.05
        raise TimeoutError

    timeout.shorten()
    for number in range(6):
        with pytest.raises(TimeoutError):
            timers[-1].retry(silent)
        timers.append(RequestTimer(timeout, f"another {number}"))
    assert now - 1000 < 2.3


def test_run_that_ends_waits_for_engine_that_is_busy_with_one_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has answered, so that the next removals may take as long as any."""
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    timeout = ResponseTimeout()

    def takes(seconds: float) -> bool:
        """Send a request, and return whether the run waits for its answer."""
        end = now + seconds

        def receive() -> bytes:
            nonlocal now
            now += 0.05
            if now < end:
                raise TimeoutError
            return b"answer"

        timer = RequestTimer(timeout, "removing a container")
        timer.retry(lambda: 100)  # bytes of the request that were sent
        try:
            return timer.receive(receive) == b"answer"
        except TimeoutError:
            return False

    timeout.shorten()
    assert [takes(seconds) for seconds in (0.1, 1.3, 1.0, 1.3, 0.9)] == [True, False, True, False, True]
    begin = now
    assert [takes(60) for _ in range(5)] == [False] * 5, "and then it stops"
    assert now - begin < 3


def test_error_that_cannot_be_reported_is_raised_by_wait_and_other_tasks_run() -> None:
    """Such as OutputLost, if nobody reads the output any longer. The run must not wait for ever."""
    done: list[str] = []

    def fail() -> None:
        raise EngineError("the engine refuses")

    def lose(error: HabitatError) -> None:
        raise KeyboardInterrupt(str(error))

    tasks = BackgroundTasks(lose)
    for call in (fail, partial(done.append, "second")):
        tasks.add(call)
    with pytest.raises(KeyboardInterrupt, match="the engine refuses"):
        tasks.wait(5)
    assert tasks.wait(5)
    tasks.add(partial(done.append, "third"))
    assert tasks.wait(5)
    assert done == ["second", "third"]


def test_warning_of_slow_engine_that_cannot_be_written_ends_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """The warning comes from a thread, in which nobody would see the error."""
    monkeypatch.setattr("phases.core.project.connection.SILENCE", 0.05)
    in_threads: list[object] = []
    monkeypatch.setattr(threading, "excepthook", in_threads.append)

    def connect() -> FakeEngine:
        time.sleep(0.3)
        return FakeEngine()

    def lose(text: str) -> None:
        raise KeyboardInterrupt(text)

    with pytest.raises(KeyboardInterrupt, match="still waiting for the engine"):
        assert EngineConnection(connect, ContainerCreator(), lose).engine
    assert in_threads == []


def test_removal_whose_error_cannot_be_reported_is_raised_by_wait_after_all_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    in_threads: list[object] = []
    monkeypatch.setattr(threading, "excepthook", in_threads.append)
    removed: list[str] = []

    def remove(container: str, _on_sent: object) -> None:
        if container == "refused":
            raise EngineError("the engine refuses")
        removed.append(container)

    def lose(error: HabitatError) -> None:
        raise KeyboardInterrupt(str(error))

    remover = BackgroundRemover(remove, lose)
    for container in ("one", "refused", "two"):
        remover.remove(container)
    with pytest.raises(KeyboardInterrupt, match="the engine refuses"):
        remover.wait()
    remover.wait()
    assert sorted(removed) == ["one", "two"]
    assert in_threads == []


@pytest.mark.parametrize("step", ["cleanups.run_all", "connection.close_locks", "connection.wait_for_tasks"])
@pytest.mark.parametrize("has_builder", [True, False])
def test_end_of_run_that_is_interrupted_does_all_other_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, has_builder: bool
) -> None:
    demo = DemoProject(tmp_path, "base_image: base:1\n")
    demo.build()
    project = demo.project
    ended = demo.builder if has_builder else project
    done: list[str] = []

    def note(name: str) -> None:
        done.append(name)
        if name == step:
            raise KeyboardInterrupt

    for name in ("cleanups.run_all", "connection.close_locks", "connection.wait_for_tasks", "bus.close"):
        owner, _, method = name.partition(".")
        monkeypatch.setattr(getattr(project, owner), method, partial(note, name))
    expected = ["cleanups.run_all", "connection.close_locks", "connection.wait_for_tasks", "bus.close"]
    if has_builder:
        monkeypatch.setattr(demo.builder._pools.remover, "wait", lambda **_: done.append("removals"))
        expected.insert(2, "removals")
    with pytest.raises(KeyboardInterrupt):
        ended.close()
    assert done == expected
