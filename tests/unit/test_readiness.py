"""Waiting for a habitat that says when it is ready, on the fake engine. Nothing really sleeps but one try."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from fake_shell import SleepTooLong
from unit_helpers import DemoProject, FakeTerminal, built_demo, load

from phases.core import events
from phases.core.errors import ConfigError, StartError
from phases.core.runtime import exec as runtime_exec
from phases.core.runtime import start as runtime_start
from phases.core.runtime import stop

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fake_engine import Command, FakePipedExec

PROBE = "probe localhost"

READY = f"entry: {{ready: {{command: {PROBE}, timeout: 5s}}, command: echo hello}}\n"


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long it paused each time; the clock goes on by that much, and not else."""
    pauses: list[float] = []
    clock = SimpleNamespace(monotonic=lambda: 1000 + sum(pauses), sleep=pauses.append)
    monkeypatch.setattr("phases.core.runtime.session.ready.time", clock)
    return pauses


def answer(demo: DemoProject, *answers: tuple[int, str] | Callable[[Command], tuple[int, str]]) -> list[Command]:
    """What the tries end with, the last one also each after it. Returns them, as they are made."""
    tries: list[Command] = []

    def on_execute(command: Command) -> tuple[int, str] | None:
        if command.script != PROBE:
            return None
        tries.append(command)
        actual = answers[min(len(tries), len(answers)) - 1]
        return actual(command) if callable(actual) else actual

    demo.engine.on_execute = on_execute
    return tries


def start(demo: DemoProject, terminal: FakeTerminal | None = None) -> int:
    return runtime_start.start(demo.run_anew(), "demo", terminal or FakeTerminal())


def detach(demo: DemoProject) -> None:
    runtime_start.start_detached(demo.run_anew(), "demo")


def refused(demo: DemoProject) -> StartError:
    with pytest.raises(StartError) as excinfo:
        start(demo)
    return excinfo.value


def is_running(demo: DemoProject) -> bool:
    return demo.container().running


def processes(demo: DemoProject) -> list[FakePipedExec]:
    return demo.engine._container("habitat-demo").execs  # type: ignore[return-value]


def test_start_waits_until_ready_command_succeeds(tmp_path: Path, pauses: list[float]) -> None:
    demo = built_demo(tmp_path, READY)
    tries = answer(demo, (7, "refused\n"), (7, "refused\n"), (0, ""))
    terminal = FakeTerminal()
    assert start(demo, terminal) == 0
    assert terminal.printed == [(b"hello\n", False)]
    assert [command.script for command in demo.engine.commands[-4:]] == [PROBE, PROBE, PROBE, "echo hello"]
    assert sum(pauses) == pytest.approx(2)
    assert (tries[0].user, tries[0].workdir) == ("agent", "/workspace")
    assert demo.notices() == ["ready after 2.0s"]


def test_ready_wait_emits_begin_output_and_end_events(tmp_path: Path) -> None:
    demo = built_demo(tmp_path, READY)
    answer(demo, (7, "one\ntwo\n"), (7, ""), (0, "three\n"))
    start(demo)
    waiting = events.Waiting("demo", PROBE, 5)
    event_texts = [event for event in demo.seen if isinstance(event, events.Waiting | events.Waited)]
    assert event_texts == [waiting, events.Waiting("demo", PROBE, 5, "two"), events.Waited("demo")]


def test_ready_command_long_is_shown_on_one_short_line(tmp_path: Path) -> None:
    demo = built_demo(tmp_path, f"entry:\n  ready: |\n    true\n    : {'x' * 5000}\n  command: 'true'\n")
    start(demo)
    (waiting,) = [event for event in demo.seen if isinstance(event, events.Waiting)]
    assert waiting.command == f"true : {'x' * 53}…"


def test_ready_command_finds_start_secrets(tmp_path: Path) -> None:
    secret = "secrets: [{name: T, command: echo s3cret-word, start: true, variable: T}]\n"
    demo = built_demo(tmp_path, secret + READY)
    tries = answer(demo, (0, ""))
    start(demo)
    assert tries[0].env["T"] == "s3cret-word"
    given = [command.args[0] for command in demo.engine.commands if command.user == "0"]
    assert given[-1] == "/run/secrets/T", "before the try"


def test_ready_timeout_is_error_with_last_output_and_stops_container(tmp_path: Path, pauses: list[float]) -> None:
    demo = built_demo(tmp_path, "secrets: [{name: T, command: echo s3cret-word, start: true}]\n" + READY)
    answer(demo, (1, "old\n"), (7, "".join(f"{i}\n" for i in range(30)) + "has s3cret-word"))
    error = refused(demo)
    assert sum(pauses) == pytest.approx(5)
    assert str(error) == (
        "habitats/demo/config.yaml:3: demo is not ready after 5s: the last check ended with exit code 7: "
        "see `doit logs:demo`, or raise entry.ready.timeout"
    )
    assert error.output == (*map(str, range(11, 30)), "has ***")
    assert not is_running(demo)
    assert not any(command.script == "echo hello" for command in demo.engine.commands)


def test_detached_start_not_ready_stops_container(tmp_path: Path) -> None:
    demo = built_demo(tmp_path, READY)
    answer(demo, (1, ""))
    with pytest.raises(StartError, match="is not ready after 5s"):
        detach(demo)
    assert not is_running(demo)
    answer(demo, (0, ""))
    start(demo)
    assert not is_running(demo), "nothing says that it is to stay"


def test_ready_attempt_that_hangs_is_killed_at_timeout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    demo = built_demo(tmp_path, READY.replace("5s", "1s"))

    def hang(_: Command) -> tuple[int, str]:
        raise SleepTooLong

    answer(demo, hang)
    error = refused(demo)
    assert error.message == "demo is not ready after 1s: the last check was killed"
    assert [process.signals for process in processes(demo)] == [["KILL"]]
    assert not is_running(demo)


def test_ready_last_attempt_cut_short_reports_previous_attempt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    demo = built_demo(tmp_path, READY.replace("5s", "2s"))

    def refuse(_: Command) -> tuple[int, str]:
        time.sleep(0.6)
        return 7, "refused"

    def hang(_: Command) -> tuple[int, str]:
        raise SleepTooLong

    answer(demo, refuse, hang)
    error = refused(demo)
    assert (error.message.rpartition(": ")[2], error.output) == ("the last check ended with exit code 7", ("refused",))


def test_ready_wait_with_ended_init_fails_at_once(tmp_path: Path, pauses: list[float]) -> None:
    demo = built_demo(tmp_path, READY.replace("entry: {", "entry: {init_command: boot it, "))

    def end(command: Command) -> tuple[int, str]:
        demo.engine.stop(command.container.id)
        return 137, ""

    answer(demo, end)
    demo.engine.start = lambda container: setattr(demo.engine._container(container), "running", True)  # type: ignore[method-assign]
    error = refused(demo)
    assert error.message == "the init command ended: boot it"
    assert pauses == []


def test_ready_wait_interrupted_kills_attempt_and_stops_container(tmp_path: Path) -> None:
    demo = built_demo(tmp_path, READY)

    def interrupt(_: Command) -> tuple[int, str]:
        raise KeyboardInterrupt

    answer(demo, interrupt)
    with pytest.raises(KeyboardInterrupt):
        start(demo)
    assert [process.signals for process in processes(demo)] == [["KILL"]]
    assert not is_running(demo)
    assert events.Waited("demo") in demo.seen


def test_session_in_ready_container_does_not_wait(tmp_path: Path, pauses: list[float]) -> None:
    demo = built_demo(tmp_path, READY.replace("entry: {", "entry: {startup_delay: 3, "))
    tries = answer(demo, (0, ""))
    detach(demo)
    assert len(tries) == 1
    assert sum(pauses) == pytest.approx(3)
    for _ in range(2):
        assert start(demo) == 0
        assert runtime_exec.execute(demo.run_anew(), "demo", ("true",), FakeTerminal()) == 0
        assert runtime_exec.shell(demo.run_anew(), "demo", FakeTerminal(interactive=True)) == 0
        detach(demo)
    assert len(tries) == 1
    assert sum(pauses) == pytest.approx(3)
    stop.stop(demo.run_anew(), "demo")
    assert start(demo) == 0
    assert len(tries) == 2, "it was brought up anew"


def test_session_in_container_not_known_ready_waits(tmp_path: Path, pauses: list[float]) -> None:
    demo = built_demo(tmp_path, READY.replace("entry: {", "entry: {startup_delay: 3, "))
    answer(demo, (0, ""))
    start(demo)
    demo.engine.start("habitat-demo")  # as a killed run leaves it
    pauses.clear()
    tries = answer(demo, (1, ""), (0, ""))
    assert runtime_exec.execute(demo.run_anew(), "demo", ("true",), FakeTerminal()) == 0
    assert len(tries) == 2
    assert sum(pauses) == pytest.approx(1), "and not for the startup_delay"


def test_ready_wait_begins_after_startup_delay(tmp_path: Path, pauses: list[float]) -> None:
    demo = built_demo(tmp_path, READY.replace("entry: {", "entry: {startup_delay: 3, "))
    at: list[float] = []

    def look(_: Command) -> tuple[int, str]:
        at.append(sum(pauses))
        return 0, ""

    answer(demo, look)
    start(demo)
    assert at == [pytest.approx(3)]
    assert demo.notices() == ["waiting 3s (entry.startup_delay)", "ready after 0.0s"]


# In a config


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ready: curl x", ("curl x", 1, 60)),
        ("ready: {command: curl x}", ("curl x", 1, 60)),
        ("ready: {command: '$$A $A', interval: 2s, timeout: 5m}", ("$A 1", 2, 300)),
    ],
)
def test_ready_setting_accepts_short_and_long_form(
    tmp_path: Path, text: str, expected: tuple[str, float, float]
) -> None:
    ready = load(tmp_path, f"base_image: b\nenv: [A=1]\nentry:\n  {text}\n").entry.ready
    assert ready
    assert (ready.command, ready.interval, ready.timeout, ready.origin.line) == (*expected, 4)


@pytest.mark.parametrize("text", ["ready: ''", "ready:", "ready: {command: ''}"])
def test_ready_setting_empty_overrides_lower_layer(tmp_path: Path, text: str) -> None:
    (tmp_path / "shared").mkdir()
    below = "ready: {command: a}" if "{" in text else "ready: a"
    (tmp_path / "shared/config.yaml").write_text(f"entry: {{{below}}}\n")
    assert (load(tmp_path, f"base_image: b\nentry:\n  {text}\n").entry.ready is None) == (text != "ready:")


DURATION = "write whole seconds, minutes or hours, such as 2s, 90s or 5m"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("ready: '  '", "ready is blank: write a command, or leave the key out"),
        ("ready: [a]", "entry.ready: must be text or a mapping, is a list: write one value"),
        ("ready: {timeout: 3s}", "entry.ready: 'command' is missing: add it"),
        ("ready: {comand: a}", "entry.ready: unknown key 'comand': did you mean 'command'?"),
        (
            "ready: {command: a, interval: 0}",
            f"entry.ready.interval: must be a duration from 1s to 8760h, is '0': {DURATION}",
        ),
        (
            "ready: {command: a, timeout: soon}",
            f"entry.ready.timeout: must be a duration from 1s to 8760h, is 'soon': {DURATION}",
        ),
        (
            "ready: {command: a, interval: 0.5s}",
            f"entry.ready.interval: must be a duration from 1s to 8760h, is '0.5s': {DURATION}",
        ),
    ],
)
def test_ready_setting_malformed_is_refused_with_line(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(ConfigError) as excinfo:
        load(tmp_path, f"base_image: b\nentry:\n  {text}\n")
    assert str(excinfo.value) == f"habitats/demo/config.yaml:3: {why}"
