"""What a base image says in labels of the program counts for nothing."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from unit_helpers import DemoProject, FakeTerminal, write

from phases.core import events
from phases.core.build import failure
from phases.core.build.builder import Builder
from phases.core.cache.image_labels import cleared_labels
from phases.core.errors import HabitatError
from phases.core.project import Project
from phases.core.report import plan, status
from phases.core.runtime import debug
from phases.core.runtime import start as runtime_start
from phases.core.runtime.persistence.volumes import persistence_of
from phases.registry import NAMES

if TYPE_CHECKING:
    from pathlib import Path

    from fake_engine import Command

FORGED = {
    "habitat.result": "fail",
    "habitat.name": "other",
    "habitat.phase": "final",
    "habitat.parent": "sha256:forged",
    "habitat.created": "9999-12-31T23:59:59Z",
    "habitat.seconds": "nan",
    "habitat.surroundings": "forged",
    "habitat.persist": "not JSON",
    "habitat.project": "forged",
    "habitat.project.id": "forged",
    "habitat.project.origin": "forged",
    "habitat.confinement": "none",
    "habitat.run": "demo",
    "habitat.nonce": "forged",
    "habitat.caches": "forged",
    "habitat.failure.0": '{"message": "forged',
    "habitat.failure.1": '"}',
    'habitat.odd "name"\n': "forged",
    "habitat.of-a-later-version": "forged",
    **{f"{name}.hash": "forged" for name in NAMES},
}
THEIRS = {"maker": "tests", "git.hash": "abc", "habitats": "x", "my.base.hash": "x"}

CONFIG = "base_image: base:1\nsetup: {user: [echo one]}\nentry: {command: 'true'}\n"


pytestmark = pytest.mark.guarantee("inherited-labels-are-emptied")


@pytest.fixture(params=["base image", "Dockerfile"])
def demo(tmp_path: Path, request: pytest.FixtureRequest) -> DemoProject:
    """A habitat, and another of the same config, on an image with labels that are ours."""
    is_base = request.param == "base image"
    for name in ("demo", "twin"):
        write(tmp_path, f"habitats/{name}/config.yaml", CONFIG if is_base else CONFIG.partition("\n")[2])
        if not is_base:
            plain = [
                f'LABEL {key}="{value}"' for key, value in (FORGED | THEIRS).items() if re.fullmatch("[a-z.0-9-]+", key)
            ]
            lines = [line.replace('{"', '{\\"') for line in plain]
            write(tmp_path, f"habitats/{name}/Dockerfile", "\n".join(["FROM base:1", *lines]) + "\n")
    demo_project = DemoProject(tmp_path, CONFIG if is_base else CONFIG.partition("\n")[2])
    if is_base:
        demo_project.engine._image("base:1").labels |= FORGED | THEIRS
    return demo_project


def ours(demo: DemoProject, tag: str) -> dict[str, str]:
    return cleared_labels(demo.engine._image(tag).labels)


def test_snapshot_on_base_with_program_labels_has_only_its_own_labels(demo: DemoProject) -> None:
    demo.build()
    names = {phase.NAME for phase in demo.project.phases("demo")}
    output = {"habitat.name", "habitat.phase", "habitat.parent", "habitat.created", "habitat.seconds"}
    output |= {"habitat.project", "habitat.project.id"}
    for tag in [tag for tag in demo.engine.tags() if tag.startswith("habitat-demo:") and "final" not in tag]:
        phase = tag.rpartition("-")[2]
        upto = {f"{name}.hash" for name in NAMES[: NAMES.index(phase) + 1] if name in names}
        images = {"habitat.images"} if "dockerfile" in names else set()
        assert set(ours(demo, tag)) == output | upto | images | {"habitat.surroundings"}, tag
        values = demo.engine._image(tag).labels
        assert "forged" not in values.values()
        assert THEIRS.items() <= values.items(), "the image's own labels stay"
    assert demo.build() == []


def test_snapshots_on_base_with_failure_label_are_shared(demo: DemoProject) -> None:
    demo.build()
    project = Project(demo.root, lambda: demo.engine, shares=True)
    builder = Builder(project)
    shared: list[str] = []
    project.bus.subscribe(lambda event: shared.append(event.phase) if isinstance(event, events.PhaseShared) else None)
    phases = [phase for phase in project.phases("twin") if phase.ID <= 9]
    for phase in phases:
        builder.build("twin", phase)
    builder.close()
    assert shared == [phase.NAME for phase in phases]


def test_plan_status_and_start_on_base_with_program_labels_work_normally(demo: DemoProject) -> None:
    assert plan.plan(demo.run_anew(), "demo").is_new
    demo.build()
    assert plan.plan(demo.run_anew(), "demo").why == {}
    runtime_start.start(demo.run_anew(), "demo", FakeTerminal())
    (state,) = status.overview(demo.run_anew(), ["demo"]).habitats
    assert {phase.state for phase in state.phases} == {"cached"}
    assert state.container is not None
    assert list(state.set_aside) == []
    container = demo.container()
    assert persistence_of(container).entries == ()


def test_failure_on_base_with_failure_labels_keeps_own_failure(demo: DemoProject) -> None:
    make_user = demo.engine.on_execute
    assert make_user is not None

    def fail(command: Command) -> tuple[int, str | bytes] | None:
        return (3, "") if command.script == "echo one" else make_user(command)

    demo.engine.on_execute = fail
    with pytest.raises(HabitatError):
        demo.build()
    labels = demo.engine._image("habitat-demo:7-setup-failed").labels
    messages = failure.read_labels({key: value for key, value in labels.items() if value})
    assert messages is not None
    assert messages.code == 3
    assert {value for key, value in labels.items() if key.startswith("habitat.failure.") and "forged" in value} == set()
    assert debug._last_failure(demo.run_anew(), "demo")[2] == messages


def test_build_container_on_base_with_program_labels_has_empty_labels(demo: DemoProject) -> None:
    seen: list[dict[str, str]] = []
    make_user = demo.engine.on_execute
    assert make_user is not None

    def look(command: Command) -> tuple[int, str | bytes] | None:
        seen.append(dict(command.container.labels))
        return make_user(command)

    demo.engine.on_execute = look
    demo.build()
    assert seen
    assert [cleared_labels(labels) for labels in seen if cleared_labels(labels)] == []
