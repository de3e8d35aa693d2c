"""Tests with `init: true`, which run beside the habitat's init command, on the fake engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from unit_helpers import DemoProject, load, make_user, write

from phases.core.build.commands import init_command
from phases.core.container.init_process import IDLE_FOR_PROBE
from phases.core.engine.confinement.restrictions import Restrictions
from phases.core.errors import ConfigError, EngineError, HabitatError
from phases.core.report import plan as report_plan
from phases.registry import named

if TYPE_CHECKING:
    from pathlib import Path

    from fake_engine import Command

INIT = "touch /up; sleep 600"
BOTH = """\
base_image: base:1
env: [USER=dev]
tests: [one, {run: beside, init: true}, two]
hooks: [{run_as: root, before: test, commands: [echo before]}, {run_as: root, after: test, commands: [echo after]}]
entry:
  {init_command: 'touch /up; sleep 600', ready: cat /up, limits: {memory: 1g, pids: 7}, shm_size: 1m, network: none}
build: {new_privileges: true}
"""


class TestedHabitat(DemoProject):
    """A habitat whose tests are answered with `code`. ran: what ran in which main process, with its restrictions."""

    __test__ = False

    def __init__(self, root: Path, text: str = BOTH) -> None:
        for name in ("one", "two", "beside"):
            write(root, f"habitats/demo/{name}", "#!/bin/sh\n", 0o755)
        super().__init__(root, text)
        self.ran: list[tuple[str, tuple[str, ...]]] = []
        self.restrictions: dict[str, Restrictions] = {}
        self.code = 0
        self.engine.on_execute = self.answer

    def answer(self, command: Command) -> tuple[int, str] | None:
        if command.script != 'exec "$1"' and command.script not in ("echo before", "echo after"):
            return make_user(command)
        is_test = command.script.startswith("exec")
        name = command.args[0].rpartition("/")[2] if is_test else command.script
        self.ran.append((name, command.container.command))
        self.restrictions[name] = command.container.restrictions
        return (self.code if name == "beside" else 0), ""

    def fails(self) -> HabitatError:
        with pytest.raises(HabitatError) as excinfo:
            self.build()
        assert self.engine.containers() == []
        return excinfo.value


class Clock:
    """Replaces the module time: nothing really sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds + 0.001


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(init_command, "time", clock)
    return clock


@pytest.mark.guarantee("tests-beside-init")
def test_test_with_init_runs_after_others_in_container_like_that_of_start(tmp_path: Path) -> None:
    demo = TestedHabitat(tmp_path)
    demo.build()
    alone, beside = IDLE_FOR_PROBE, ("/bin/sh", "-c", INIT)
    assert demo.ran == [
        *((name, alone) for name in ("echo before", "one", "two", "echo after")),
        *((name, beside) for name in ("echo before", "beside", "echo after")),
    ]
    assert demo.restrictions["one"].privileges
    entry = Restrictions(memory=1 << 30, pids=7, network="none", privileges=False, shm=1 << 20)
    assert demo.restrictions["beside"] == entry
    assert [text for text in demo.notices() if "ready" in text] == ["ready after 0.0s"]
    assert demo.engine.containers() == []
    assert demo.build() == []


def test_test_with_init_without_other_tests_needs_one_container(tmp_path: Path) -> None:
    demo = TestedHabitat(tmp_path, BOTH.replace("one, ", "").replace(", two", ""))
    demo.build()
    assert [name for name, _ in demo.ran] == ["echo before", "beside", "echo after"]


def test_startup_delay_passes_before_test_with_init(tmp_path: Path, clock: Clock) -> None:
    demo = TestedHabitat(tmp_path, BOTH.replace("ready: cat /up", "startup_delay: 3"))
    demo.build()
    assert 3 < clock.now < 3.5
    assert "waiting 3s (entry.startup_delay)" in demo.notices()


KEEPS_RUNNING = "write an entry.init_command that keeps running"
MORE_TIME = "raise entry.ready.timeout, or see the log: .stamps/demo/11-test.log"


@pytest.mark.guarantee("tests-beside-init")
@pytest.mark.parametrize(
    ("old", "new", "error", "output"),
    [
        (
            INIT,
            "echo no database; exit 3",
            f"3: the init command ended: echo no database; exit 3: {KEEPS_RUNNING}",
            ("no database",),
        ),
        (
            "cat /up",
            "{command: echo not yet; false, timeout: 3s}",
            f"6: the habitat is not ready for its tests after 3s: the last check ended with exit code 1: {MORE_TIME}",
            ("not yet",),
        ),
        (
            "cat /up",
            "{command: sleep 9, timeout: 2s}",
            f"6: the habitat is not ready for its tests after 2s: the last check was killed: {MORE_TIME}",
            (),
        ),
    ],
    ids=["init ends", "never ready", "check hangs"],
)
def test_init_command_that_fails_tests_is_error_with_its_output(
    tmp_path: Path, old: str, new: str, error: str, output: tuple[str, ...]
) -> None:
    demo = TestedHabitat(tmp_path, BOTH.replace(old, new))
    failure = demo.fails()
    assert str(failure) == f"habitats/demo/config.yaml:{error}; `doit debug:demo` opens a shell there"
    assert failure.output == output
    assert "beside" not in dict(demo.ran)


def test_init_command_that_ends_during_test_is_error_instead_of_test(tmp_path: Path) -> None:
    demo = TestedHabitat(tmp_path)
    demo.code = 137

    def answer(command: Command) -> tuple[int, str] | None:
        result = demo.answer(command)
        if result == (137, ""):
            command.container.running = False
            command.container.log.append("out of space")
        return result

    demo.engine.on_execute = answer
    failure = demo.fails()
    assert failure.message == f"the init command ended: {INIT}"
    assert failure.output == ("out of space",)


def test_test_with_init_that_fails_is_reported_as_test(tmp_path: Path) -> None:
    demo = TestedHabitat(tmp_path)
    demo.code = 4
    assert demo.fails().message == "test beside ended with exit code 4"


def test_init_command_not_in_image_is_error_that_names_it(tmp_path: Path) -> None:
    demo = TestedHabitat(tmp_path)
    demo.build("verify")
    start = demo.engine.start

    def refuse(container: str) -> None:
        if demo.engine._container(container).command != IDLE_FOR_PROBE:
            demo.engine.failures["start"] = EngineError("no such file")
        start(container)

    demo.engine.start = refuse  # type: ignore[method-assign]
    assert "the init command can't be started (no such file): check that the image has touch" in str(demo.fails())


def test_image_kept_of_failed_test_has_no_proxies_of_init_container(tmp_path: Path) -> None:
    demo = TestedHabitat(tmp_path)
    demo.engine.proxies = {"HTTP_PROXY": "http://me:s3cret@proxy"}
    demo.code = 4
    demo.fails()
    config = demo.engine.image_config("habitat-demo:11-test-failed")
    assert config
    assert config.env["HTTP_PROXY"] == ""
    assert config.env["USER"] == "dev"


# The slice

PLAIN = "base_image: base:1\ntests: [one]\nentry: {init_command: a, ready: b}\n"


def slice_of(root: Path, text: str) -> object:
    write(root, "habitats/demo/one", "#!/bin/sh\n", 0o755)
    return named("test").slice(load(root, text))


@pytest.mark.parametrize("entry", ["{run: one}", "{run: one, init: false}"])
def test_slice_of_test_without_init_is_that_of_its_path(tmp_path: Path, entry: str) -> None:
    assert slice_of(tmp_path, PLAIN.replace("[one]", f"[{entry}]")) == slice_of(tmp_path, PLAIN)
    assert "init" not in str(slice_of(tmp_path, PLAIN.replace("init_command: a", "init_command: c")))


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (INIT, "sleep 7", f"entry.init_command: {INIT} → sleep 7"),
        ("ready: cat /up", "ready: cat /bin/sh", "entry.ready: cat /up → cat /bin/sh"),
    ],
)
def test_change_of_init_command_runs_tests_with_init_again(tmp_path: Path, old: str, new: str, reason: str) -> None:
    demo = TestedHabitat(tmp_path)
    demo.build()
    write(tmp_path, "habitats/demo/config.yaml", BOTH.replace(old, new))
    assert report_plan.plan(demo.run_anew(), "demo").reasons["test"] == [reason]


# The config


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (
            "tests:\n- run: one\n  init: true\n",
            "config.yaml:4: tests: one has init: true, and there is no entry.init_command: write entry",
        ),
        ("tests: [{run: one, int: true}]\n", "did you mean 'init'?"),
        ("tests: [{init: true}]\n", "run"),
        ("tests: [{run: one, init: maybe}]\n", "init"),
        ("tests: [{run: nosuch, init: true}]\n", "tests: there is neither habitats/demo/nosuch nor nosuch on the host"),
    ],
)
def test_config_of_test_with_init_that_is_wrong_is_refused(tmp_path: Path, text: str, error: str) -> None:
    write(tmp_path, "habitats/demo/one", "#!/bin/sh\n", 0o755)
    with pytest.raises(ConfigError) as excinfo:
        load(tmp_path, f"base_image: base:1\n{text}")
    assert error in str(excinfo.value)
