"""What was decided about an image holds for that image, whatever its tag is on by then."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from unit_helpers import DemoProject, FakeTerminal, built_demo, write

from phases.core.cache.image_labels import LABEL_PARENT
from phases.core.errors import ConfigError, StartError
from phases.core.runtime import exec as runtime_exec
from phases.core.runtime import start as runtime_start
from phases.registry import named

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from phases.core.model import Secret, Value
    from phases.core.project import Project

FINAL = ("habitat-demo:final", "habitat-demo:12-final")


@pytest.fixture
def demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DemoProject:
    monkeypatch.setenv("TOKEN", "a-long-secret")
    return built_demo(tmp_path, "secrets: [{name: T, env: TOKEN, start: true}]\nentry: {command: 'true'}\n")


def take_tags(demo: DemoProject) -> str:
    """Another image gets the tags of final, as another clone or user of the engine may do. Returns its id."""
    other = demo.engine.add_image(labels={"habitat.name": "demo", "habitat.phase": "final"})
    for tag in FINAL:
        demo.engine.tag(other, tag)
    return other


def while_secrets_are_fetched(monkeypatch: pytest.MonkeyPatch, project: Project, act: Callable[[], object]) -> None:
    values = project.vault.values

    def meanwhile(secrets: Iterable[Secret]) -> tuple[Value, ...]:
        monkeypatch.setattr(project.vault, "values", values)
        act()
        project.image_index.refresh()  # as another habitat of the same run does
        return values(secrets)

    monkeypatch.setattr(project.vault, "values", meanwhile)


def image_of_container(demo: DemoProject) -> str:
    return demo.container().image


@pytest.mark.guarantee("checked-image-is-run")
@pytest.mark.parametrize("way", ["start", "detached", "exec"])
def test_final_tag_moved_during_secret_fetch_runs_built_image(
    demo: DemoProject, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    built, project = demo.engine.tags()[FINAL[0]], demo.run_anew()
    project.assess("demo")
    while_secrets_are_fetched(monkeypatch, project, lambda: take_tags(demo))
    match way:
        case "start":
            runtime_start.start(project, "demo", FakeTerminal())
        case "detached":
            runtime_start.start_detached(project, "demo")
        case _:
            runtime_exec.execute(project, "demo", ["true"], FakeTerminal())
    assert image_of_container(demo) == built


@pytest.mark.guarantee("checked-image-is-run")
def test_final_tag_moved_after_build_runs_built_image(tmp_path: Path) -> None:
    demo = DemoProject(tmp_path, "base_image: base:1\nentry: {command: 'true'}\n")
    project = demo.project
    for phase in project.phases("demo"):
        demo._ran(phase)
    built = demo.engine.tags()[FINAL[0]]
    take_tags(demo)
    project.image_index.refresh()
    runtime_start.start(project, "demo", FakeTerminal())
    assert image_of_container(demo) == built


@pytest.mark.guarantee("checked-image-is-run")
def test_built_image_removed_during_secret_fetch_is_one_line_error(
    demo: DemoProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    built, project = demo.engine.tags()[FINAL[0]], demo.run_anew()

    def remove() -> None:
        take_tags(demo)
        demo.engine.remove_image(built)

    while_secrets_are_fetched(monkeypatch, project, remove)
    with pytest.raises(StartError) as excinfo:
        runtime_start.start(project, "demo", FakeTerminal())
    assert str(excinfo.value) == (
        f"demo: the image {built[7:19]} was replaced by another run: run the same command again"
    )
    assert demo.engine.containers() == []


@pytest.mark.guarantee("checked-image-is-run")
@pytest.mark.parametrize("way", ["changed config", "another's image"])
def test_start_single_with_stale_final_image_is_refused(demo: DemoProject, way: str) -> None:
    if way == "changed config":
        write(demo.root, "habitats/demo/config.yaml", "base_image: base:1\nentry: {command: 'false'}\n")
    else:
        take_tags(demo)
    with pytest.raises(StartError) as excinfo:
        runtime_start.start(demo.run_anew(), "demo", FakeTerminal())
    assert str(excinfo.value).startswith("demo: habitat-demo:final is out of date (")
    assert str(excinfo.value).endswith("): run the same command again (without --single, if you gave that)")
    assert demo.engine.containers() == []


@pytest.mark.guarantee("checked-image-is-run")
def test_exec_in_image_not_created_by_build_is_refused(demo: DemoProject) -> None:
    for tag in FINAL:
        demo.engine.tag("base:1", tag)
    with pytest.raises(StartError) as excinfo:
        runtime_exec.execute(demo.run_anew(), "demo", ["true"], FakeTerminal())
    assert str(excinfo.value) == (
        "demo: habitat-demo:final is an image that was not built for demo: "
        "`doit final:demo` builds it and moves the tag"
    )
    assert demo.engine.containers() == []


@pytest.mark.guarantee("phase-builds-on-checked-image")
def test_parent_tag_moved_after_assessment_builds_on_assessed_image(demo: DemoProject) -> None:
    project, built = demo.run_anew(), demo.engine.tags()["habitat-demo:1-base"]
    project.assess("demo")
    demo.engine.tag(demo.engine.add_image(), "habitat-demo:1-base")
    project.image_index.refresh()
    assert project.assessments.parent_id("demo", named("users")) == built


@pytest.mark.guarantee("phase-builds-on-checked-image")
@pytest.mark.parametrize("when", ["after it was looked at", "while it is worked on"])
def test_base_image_moved_during_its_phase_fails_without_snapshot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    demo = DemoProject(tmp_path)
    other = demo.engine.add_image()
    method = "image_config" if when == "after it was looked at" else "create"
    call = getattr(demo.engine, method)
    looks = 2 if method == "image_config" else 1  # the first is whether it has to be pulled
    seen: list[str] = []

    def moving(reference: str, *arguments: object, **options: object) -> object:
        actual = call(reference, *arguments, **options)
        seen.append(reference)
        if len(seen) == looks:
            demo.engine.tag(other, "base:1")
            demo.project.image_index.refresh()
            demo.project.assessments._assessed.clear()  # as a wait for another run does
        return actual

    monkeypatch.setattr(demo.engine, method, moving)
    with pytest.raises(ConfigError) as excinfo:
        demo.build()
    assert str(excinfo.value) == (
        "habitats/demo/config.yaml:1: base image base:1 moved during the build: run the same command again"
    )
    assert [tag for tag in demo.engine.tags() if tag.startswith("habitat-demo")] == []
    demo.build()
    made = demo.engine._image("habitat-demo:1-base").labels
    messages = demo.project.slices.today(demo.project.habitat("demo"), named("base"))["id"]
    assert made[LABEL_PARENT] == messages == other
    assert demo.build() == []
