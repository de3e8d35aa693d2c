"""Locks held on an engine: never two holders, whatever the order of requests, and who is dead holds nobody up."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from fake_engine import FakeEngine

from phases.core.engine import lock_volumes
from phases.core.engine import locks as engine_locks
from phases.core.engine.background import ContainerCreator
from phases.core.engine.locks import EngineLocks
from phases.core.errors import EngineError, HabitatError, Stopped
from phases.core.files import processes
from phases.core.files.processes import Process

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from phases.core.engine.locks import EngineLock
    from phases.core.engine.types import Volume

KEY = "build demo"


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


def locks_on(engine: Any) -> EngineLocks:
    """Those of another run."""
    return EngineLocks(engine, ContainerCreator())


def held(engine: FakeEngine, *, alone: bool = True) -> EngineLock:
    lock = locks_on(engine).lock(KEY, exclusive=alone)
    lock.acquire(pytest.fail)
    return lock


def names(engine: FakeEngine, key: str = KEY) -> list[str]:
    return [volume.name for volume in engine.volumes(label=f"{lock_volumes.LABEL_LOCK}={key}")]


def until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def forged(engine: FakeEngine, process: Process | None, key: str = KEY, owner: str = "0ther", **more: str) -> str:
    """A volume of another contender, of which this process knows nothing. Returns its name."""
    labels = lock_volumes.labels(key, owner, exclusive=True) | {"habitat.lock.who": "pid 7 on far since 01:02:03"}
    labels |= {"habitat.lock.machine": process.machine if process else ""}
    labels |= {"habitat.lock.process": f"{process.pid} {process.began}" if process else ""}
    return engine.create_volume(lock_volumes.volume_name(key, owner, 0), labels | more).name


def gone() -> Process:
    """A process of this machine that has ended."""
    script = "from phases.core.files import processes; print(processes.current())"
    output = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.strip()
    process = Process.named(output)
    assert process
    return process


# Never two holders


class RequestOrder:
    """Lets one request through at a time, in an order of who makes it; all that come behind that, at will."""

    def __init__(self, order: str) -> None:
        self._order = list(order)
        self._changed = threading.Condition()

    def pass_on(self, who: str, request: Callable[[], Any]) -> Any:
        with self._changed:
            assert self._changed.wait_for(lambda: not self._order or self._order[0] == who, 10)
            result = request()
            del self._order[:1]
            self._changed.notify_all()
            return result


class ContenderEngine:
    """The engine as one contender has it."""

    def __init__(self, engine: FakeEngine, who: str, baton: RequestOrder) -> None:
        self._engine = engine
        self._who = who
        self._baton = baton

    def create_volume(self, name: str, labels: Mapping[str, str]) -> Volume:
        volume: Volume = self._baton.pass_on(self._who, lambda: self._engine.create_volume(name, labels))
        return volume

    def volumes(self, *, label: str = "") -> list[Volume]:
        volumes: list[Volume] = self._baton.pass_on(self._who, lambda: self._engine.volumes(label=label))
        return volumes

    def remove_volume(self, name: str) -> None:
        self._engine.remove_volume(name)


@pytest.mark.guarantee("engine-lock-has-one-holder")
@pytest.mark.parametrize("alone", ["abc", "ab", "a"])
def test_engine_lock_requests_in_any_order_never_give_two_holders(alone: str) -> None:
    """Each makes its volume and looks: all 90 orders of three who do so at once. alone: who wants to be."""
    winners = set()
    for order in sorted(set(itertools.permutations("aabbcc"))):
        engine, baton = FakeEngine(), RequestOrder("".join(order))
        locks = {who: locks_on(ContenderEngine(engine, who, baton)).lock(KEY, exclusive=who in alone) for who in "abc"}
        threads = [threading.Thread(target=lock._attempt) for lock in locks.values()]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        holders = {who for who, lock in locks.items() if lock.is_held}
        assert len(holders) < 2 or not holders & set(alone), order
        winners.add("".join(sorted(holders)))
        for lock in locks.values():
            lock.release()
        until(lambda engine=engine: not names(engine))  # type: ignore[misc]
    assert set("abc") <= winners, "each wins when it is first"
    assert ("bc" in winners) == (alone == "a")


@pytest.mark.guarantee("engine-lock-has-one-holder")
def test_engine_lock_many_contenders_take_turns(engine: FakeEngine) -> None:
    inside, most, done = [0], [0], []

    def use(number: int) -> None:
        locks = locks_on(engine)
        for _ in range(5):
            lock = locks.lock(KEY)
            lock.acquire(lambda _: None)
            inside[0] += 1
            most[0] = max(most[0], inside[0])
            time.sleep(0.001)
            inside[0] -= 1
            lock.release()
        locks.close()
        done.append(number)

    threads = [threading.Thread(target=use, args=(number,), daemon=True) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert (len(done), most[0]) == (8, 1)
    assert names(engine) == []


def test_engine_lock_second_contender_waits_and_gets_name_of_holder(engine: FakeEngine) -> None:
    first, messages = held(engine), list[str]()
    threading.Timer(0.3, first.release).start()
    second = locks_on(engine).lock(KEY)
    assert second.acquire(messages.append)
    (who,) = messages
    assert who.startswith(f"pid {os.getpid()} on {os.uname().nodename} since ")


def test_engine_lock_wait_during_shutdown_stops_and_leaves_no_volume(engine: FakeEngine) -> None:
    first, locks = held(engine), locks_on(engine)
    threading.Timer(0.2, locks.maker.close).start()
    with pytest.raises(Stopped):
        locks.lock(KEY).acquire(lambda _: None)
    locks.close()
    first.release()
    until(lambda: not names(engine))


def test_engine_locks_close_releases_all_locks(engine: FakeEngine) -> None:
    """As when a signal comes while threads are at work that never come to their ends."""
    locks = locks_on(engine)
    for key in ("a", "b"):
        locks.lock(key).acquire(pytest.fail)
    locks.close()
    assert engine.volumes() == []


def test_engine_lock_volume_refused_by_engine_is_not_held(engine: FakeEngine) -> None:
    engine.failures["create_volume"] = EngineError("no space")
    lock = locks_on(engine).lock(KEY)
    with pytest.raises(EngineError):
        lock.acquire(pytest.fail)
    assert not lock.is_held


def test_engine_lock_whose_volume_removal_failed_is_removed_later(
    engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_locks, "_RETRY_AFTER", 0.05)
    lock = held(engine)
    engine.failures["remove_volume"] = EngineError("busy")
    lock.release()
    until(lambda: engine.called("remove_volume"))
    engine.failures.clear()
    until(lambda: not names(engine))


# The dead


@pytest.mark.guarantee("locks-of-killed-run-are-released")
def test_engine_lock_of_killed_process_is_taken_over_at_once(engine: FakeEngine) -> None:
    left = forged(engine, gone())
    lock = held(engine)
    assert left not in names(engine)
    assert lock.check() is False


@pytest.mark.guarantee("locks-of-killed-run-are-released")
def test_engine_lock_of_reused_pid_is_taken_over(engine: FakeEngine) -> None:
    now = processes.current()
    left = forged(engine, Process(now.machine, now.pid, "1"))
    held(engine)
    assert left not in names(engine)


def test_engine_lock_of_zombie_process_is_taken_over(engine: FakeEngine) -> None:
    """It has ended, but its parent has not asked how: its number is still taken."""
    script = "from phases.core.files import processes; print(processes.current(), flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout
        process = Process.named(child.stdout.readline().decode().strip())
        assert process
        assert process.runs
        child.kill()
        until(lambda: not process.runs)
        forged(engine, process)
        held(engine)


@pytest.mark.guarantee("locks-of-killed-run-are-released")
def test_engine_lock_acquire_removes_all_locks_of_killed_processes(engine: FakeEngine) -> None:
    forged(engine, gone(), key="turn 123")
    forged(engine, processes.current(), key="turn 456")
    held(engine)
    assert (names(engine, "turn 123"), len(names(engine, "turn 456"))) == ([], 1)


def test_engine_lock_acquire_keeps_volume_of_person(engine: FakeEngine) -> None:
    labels = lock_volumes.labels(KEY, "x", exclusive=True) | {"habitat.lock.machine": "", "habitat.lock.process": ""}
    engine.create_volume("precious", labels)
    held(engine)
    assert "precious" in names(engine)


@pytest.mark.guarantee("locks-of-killed-run-are-released")
@pytest.mark.parametrize("process", [Process("elsewhere", os.getpid(), "5"), None])
def test_engine_lock_of_remote_holder_without_heartbeat_is_taken_over_after_delay(
    engine: FakeEngine, monkeypatch: pytest.MonkeyPatch, process: Process | None
) -> None:
    monkeypatch.setattr(lock_volumes, "HEARTBEAT_TIMEOUT", 0.5)
    left = forged(engine, process)
    began, messages = time.monotonic(), list[str]()
    assert locks_on(engine).lock(KEY).acquire(messages.append)
    assert time.monotonic() - began > 0.5
    assert messages == ["pid 7 on far since 01:02:03"]
    assert left not in names(engine)


@pytest.mark.guarantee("locks-of-killed-run-are-released")
def test_engine_lock_of_remote_holder_with_heartbeat_is_never_taken_over(
    engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock_volumes, "HEARTBEAT_TIMEOUT", 0.5)
    monkeypatch.setattr(engine_locks, "_HEARTBEAT", 0.1)
    here = processes._machine()
    monkeypatch.setattr(processes, "_machine", lambda: "elsewhere")
    first = held(engine)
    monkeypatch.setattr(processes, "_machine", lambda: here)
    threading.Timer(2, first.release).start()
    began = time.monotonic()
    locks_on(engine).lock(KEY).acquire(lambda _: None)
    assert time.monotonic() - began > 1.9


def test_engine_lock_contender_after_own_suspension_takes_nothing_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or the engine was: then nobody could show a heartbeat."""
    claim = lock_volumes.Contender(KEY, "o", exclusive=True, who="", process=None, names=frozenset("a"), made="")
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    watch = lock_volumes.HeartbeatMonitor()
    assert not watch.is_dead(claim)
    now[0] += 3600
    assert not watch.is_dead(claim)
    for _ in range(45):
        now[0] += 1
        watch.is_dead(claim)
    assert watch.is_dead(claim)


def test_engine_lock_of_vanished_machine_is_removed_after_an_hour(
    engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    far = Process("elsewhere", 1, "")
    old = forged(engine, far, key="turn 1")
    monkeypatch.setattr("fake_engine.MADE", "2026-01-01T00:59:00Z")
    held(engine).release()
    assert old in names(engine, "turn 1")
    monkeypatch.setattr("fake_engine.MADE", "2026-01-01T01:01:00.123456789Z")
    held(engine)
    assert names(engine, "turn 1") == []


# Holders


def test_engine_lock_heartbeat_replaces_volume_without_gap(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_locks, "_HEARTBEAT", 0.02)
    lock = held(engine)
    seen: set[str] = set()
    deadline = time.monotonic() + 10
    while len(seen) < 5:
        assert time.monotonic() < deadline
        now = names(engine)
        assert 1 <= len(now) <= 3
        seen |= set(now)
    lock.release()
    until(lambda: not names(engine))
    time.sleep(0.1)
    assert names(engine) == []


def remove_all(engine: FakeEngine) -> None:
    """As `docker volume prune` does."""
    for volume in engine.volumes(label=lock_volumes.LABEL_LOCK):
        engine.remove_volume(volume.name)


@pytest.mark.guarantee("lost-lock-publishes-nothing")
def test_engine_lock_volume_pruned_check_recreates_volume(engine: FakeEngine) -> None:
    lock = held(engine)
    assert lock.check() is False
    remove_all(engine)
    assert lock.check() is True, "somebody else may have had it"
    assert lock.check() is False
    assert len(names(engine)) == 1


def test_engine_lock_volume_pruned_heartbeat_recreates_volume(
    engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_locks, "_HEARTBEAT", 0.05)
    lock = held(engine)
    remove_all(engine)
    until(lambda: names(engine))
    assert lock.check() is True


@pytest.mark.guarantee("lost-lock-publishes-nothing")
def test_engine_lock_pruned_and_taken_by_another_run_check_raises_error(engine: FakeEngine) -> None:
    lock = held(engine)
    remove_all(engine)
    other = held(engine)
    with pytest.raises(HabitatError) as excinfo:
        lock.check()
    assert str(excinfo.value).startswith(f"the lock '{KEY}': another run has it by now (pid {os.getpid()} on ")
    assert str(excinfo.value).endswith("): run the same command again")
    assert not lock.is_held
    assert other.check() is False
    until(lambda: len(names(engine)) == 1)


def test_engine_lock_pruned_with_withdrawing_contender_stays_held(engine: FakeEngine) -> None:
    lock = held(engine)
    remove_all(engine)
    contender = forged(engine, processes.current())
    threading.Timer(0.3, engine.remove_volume, [contender]).start()
    assert lock.check() is True


@pytest.mark.guarantee("lost-lock-publishes-nothing")
def test_engine_lock_taken_over_while_holder_was_suspended_check_raises_error(
    engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the one who has taken it over is through by now."""
    lock = held(engine)
    remove_all(engine)
    now = engine_locks._now
    monkeypatch.setattr(engine_locks, "_now", lambda: now() + 60)
    with pytest.raises(HabitatError, match="which took this one for dead"):
        lock.check()
    assert names(engine) == []


def test_engine_lock_not_taken_over_while_holder_was_suspended_stays_held(
    engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = held(engine)
    now = engine_locks._now
    monkeypatch.setattr(engine_locks, "_now", lambda: now() + 3600)
    assert lock.check() is False


def test_engine_lock_with_refused_heartbeats_stays_held(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_locks, "_HEARTBEAT", 0.02)
    monkeypatch.setattr(engine_locks, "_RETRY_AFTER", 0.02)
    lock = held(engine)
    engine.failures["create_volume"] = EngineError("no space")
    count = len(engine.called("create_volume"))
    until(lambda: len(engine.called("create_volume")) > count + 2)
    engine.failures.clear()
    before = set(names(engine))
    until(lambda: not set(names(engine)) & before)
    assert lock.check() is False
