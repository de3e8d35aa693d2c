"""The tests of one layer, on the fake engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from unit_helpers import DemoProject, make_user, write

from phases.core import events
from phases.core.errors import HabitatError
from phases.ui.verbs import layer_tests

if TYPE_CHECKING:
    from pathlib import Path

    from fake_engine import Command


class TwoLayers(DemoProject):
    """A habitat with tests of its own and of shared. ran: those that ran; failing: those that fail."""

    __test__ = False

    def __init__(self, root: Path) -> None:
        for path in ("shared/tests/of_all.sh", "habitats/demo/tests/own.sh", "habitats/demo/tests/more.sh"):
            write(root, path, "#!/bin/sh\n", 0o755)
        write(root, "shared/config.yaml", "tests: [tests/of_all.sh]\n")
        super().__init__(root, "base_image: base:1\ntests: [tests/own.sh, tests/more.sh]\n")
        self.ran: list[str] = []
        self.failing: set[str] = set()
        self.engine.on_execute = self.answer

    def answer(self, command: Command) -> tuple[int, str] | None:
        if command.script != 'exec "$1"':
            return make_user(command)
        self.ran.append(command.args[0].rpartition("/")[2])
        return int(self.ran[-1] in self.failing), ""

    def test_layer(self, layer: str) -> None:
        project = self.run_anew()
        try:
            layer_tests.run(project, "demo", builder=self.builder, layer=layer)
        finally:
            self.builder.close()

    def fails(self, layer: str) -> str:
        with pytest.raises(HabitatError) as excinfo:
            self.test_layer(layer)
        return str(excinfo.value)

    def state(self) -> object:
        """What is recorded: tags, stamps, kept slices, and whether phase test is up to date."""
        folder = self.root / ".stamps/demo"
        files = {path.name: path.read_bytes() for path in folder.glob("*") if path.suffix in (".stamp", ".built")}
        return self.engine.tags(), files, "test" in self.run_anew().assess("demo").stale


@pytest.fixture
def demo(tmp_path: Path) -> TwoLayers:
    demo = TwoLayers(tmp_path)
    demo.build("verify")
    return demo


@pytest.mark.guarantee("layer-tests-record-nothing")
@pytest.mark.parametrize(
    ("layer", "ran"), [("shared", ["of_all.sh"]), ("local", ["own.sh", "more.sh"])], ids=["shared", "local"]
)
def test_layer_tests_run_alone_and_record_no_success(demo: TwoLayers, layer: str, ran: list[str]) -> None:
    before = demo.state()
    demo.test_layer(layer)
    assert demo.ran == ran
    count = f"{len(ran)} test{'s' if len(ran) > 1 else ''}"
    assert demo.notices() == [f"{count} of layer {layer} passed; phase test is not recorded as done"]
    assert not [event for event in demo.seen if isinstance(event, events.PhaseFinished)]
    assert demo.state() == before
    assert demo.engine.containers() == []
    demo.ran.clear()
    demo.build()
    assert demo.ran == ["of_all.sh", "own.sh", "more.sh"]


@pytest.mark.guarantee("layer-tests-record-nothing")
def test_layer_test_that_fails_keeps_no_image_and_earlier_success(demo: TwoLayers) -> None:
    demo.build()
    before = demo.state()
    demo.ran.clear()
    demo.failing = {"own.sh"}
    assert demo.fails("local") == (
        "habitats/demo/config.yaml:2: test tests/own.sh ended with exit code 1: "
        "fix it, then run the same command; log: .stamps/demo/11-test.log"
    )
    assert demo.ran == ["own.sh"]
    assert demo.state() == before
    assert demo.engine.containers() == []


def test_layer_tests_keep_recorded_failure_of_whole(demo: TwoLayers) -> None:
    demo.failing = {"of_all.sh"}
    with pytest.raises(HabitatError):
        demo.build()
    assert "habitat-demo:11-test-failed" in demo.engine.tags()
    before = demo.state()
    demo.test_layer("local")
    assert demo.state() == before
    assert not (demo.root / ".stamps/demo/11-test.stamp").exists()


def test_layer_tests_release_build_lock(demo: TwoLayers) -> None:
    demo.test_layer("local")
    demo.test_layer("shared")
    assert demo.ran == ["own.sh", "more.sh", "of_all.sh"]


def test_layer_tests_ended_by_signal_leave_no_container(demo: TwoLayers) -> None:
    def interrupt(command: Command) -> tuple[int, str] | None:
        if command.script == 'exec "$1"':
            raise KeyboardInterrupt
        return make_user(command)

    demo.engine.on_execute = interrupt
    project = demo.run_anew()
    with pytest.raises(KeyboardInterrupt):
        layer_tests.run(project, "demo", builder=demo.builder, layer="local")
    assert demo.builder.close() == ["test:demo"]
    assert demo.engine.containers() == []


def test_layer_tests_before_earlier_phases_are_built_are_refused(demo: TwoLayers) -> None:
    write(
        demo.root,
        "habitats/demo/config.yaml",
        "base_image: base:1\nsetup: [{commands: [echo]}]\ntests: [tests/own.sh]\n",
    )
    assert demo.fails("local").startswith("demo: test: setup has to run first (")
    assert demo.ran == []


@pytest.mark.parametrize(
    ("layer", "error"),
    [
        ("system", "demo: layer system has no tests: these layers have some: shared, local"),
        ("locla", "demo: there is no layer 'locla': did you mean 'local'?"),
        ("", "demo: no layer is given: add --layer system, shared or local"),
    ],
)
def test_layer_without_tests_or_unknown_is_refused(demo: TwoLayers, layer: str, error: str) -> None:
    assert demo.fails(layer) == error


def test_layer_in_habitat_without_tests_is_refused(tmp_path: Path) -> None:
    demo = DemoProject(tmp_path)
    with pytest.raises(HabitatError, match=r"^demo: layer local has no tests: list scripts in tests:$"):
        layer_tests.run(demo.project, "demo", builder=demo.builder, layer="local")
