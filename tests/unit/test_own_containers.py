"""Which containers are a habitat's own: labels alone are no proof, since a commit hands them down."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest
from unit_helpers import DemoProject, FakeTerminal, built_demo, write

from phases.core.engine.types import Container, VolumeMount
from phases.core.errors import Conflict
from phases.core.report import status
from phases.core.runtime import clean, logs, stop
from phases.core.runtime import exec as runtime_exec
from phases.core.runtime import start as runtime_start
from phases.core.runtime.destroy import destroy
from phases.core.runtime.own_containers import LABEL_NONCE, LABEL_RUN, is_own
from phases.core.runtime.persistence.volumes import LABEL_PERSIST, volume_name

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from phases.core.project import Project

ENTRY = "entry: {command: 'true'}\n"
CONFIG = f"base_image: base:1\n{ENTRY}"


@pytest.fixture
def demo(tmp_path: Path) -> DemoProject:
    demo = built_demo(tmp_path, ENTRY)
    runtime_start.start(demo.run_anew(), "demo", FakeTerminal())
    return demo


def commit(demo: DemoProject) -> str:
    """What `docker commit habitat-demo mine:1` makes, as a person does. Returns its id."""
    container = demo.container()
    image = demo.engine.commit(container.id, ())
    demo.engine.tag(image, "mine:1")
    return image


def run(demo: DemoProject, name: str, image: str = "mine:1", labels: dict[str, str] | None = None) -> str:
    """What `docker run` makes. Returns its id."""
    container = demo.engine.create(image, name, ("sleep", "inf"), labels=labels)
    demo.engine.start(container)
    return container


def yes(_: str) -> bool:
    return True


def is_up(demo: DemoProject, container: str) -> bool:
    existing = demo.engine.container(container)
    return existing is not None and existing.running


def start(project: Project) -> object:
    return runtime_start.start(project, "demo", FakeTerminal())


VERBS: dict[str, Callable[[Project], object]] = {
    "destroy": lambda project: destroy(project, "demo", yes),
    "clean": lambda project: clean.clean_all(project, "demo"),
    "start": start,
    "stop": lambda project: stop.stop(project, "demo", force=True),
    "exec": lambda project: runtime_exec.execute(project, "demo", ["true"], FakeTerminal()),
    "logs": lambda project: logs.show(project, "demo"),
    "status": lambda project: status.overview(project, ["demo"]),
}

#: Names under which a person may run an image that was committed from the habitat's container.
NAMES = ["db", "habitat-demo", "habitat-demo-20260101-101010", "habitat-demo-20260101-101010-2", "habitat-demo-mine"]


@pytest.mark.guarantee("containers-of-committed-images-left-alone")
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("verb", VERBS)
def test_commands_leave_container_of_committed_image_alone(demo: DemoProject, verb: str, name: str) -> None:
    commit(demo)
    demo.engine.remove("habitat-demo")
    other = run(demo, name)
    with contextlib.suppress(Conflict):  # whose name is taken is told so
        VERBS[verb](demo.run_anew())
    assert is_up(demo, other)
    assert demo.engine.container(name) is not None


@pytest.mark.parametrize("verb", ["start", "stop", "exec", "logs"])
def test_commands_raise_conflict_if_committed_container_has_own_name(demo: DemoProject, verb: str) -> None:
    commit(demo)
    demo.engine.remove("habitat-demo")
    run(demo, "habitat-demo")
    with pytest.raises(Conflict, match="the container name habitat-demo is taken by another container"):
        VERBS[verb](demo.run_anew())


@pytest.mark.parametrize("name", NAMES)
def test_status_and_clean_ignore_container_of_committed_image(demo: DemoProject, name: str) -> None:
    commit(demo)
    demo.engine.remove("habitat-demo")
    run(demo, name)
    (state,) = status.overview(demo.run_anew(), ["demo"]).habitats
    assert (state.container, list(state.set_aside)) == (None, [])
    assert clean.containers_of(demo.project, "demo") == ([], [])


def test_clean_lists_own_container_and_containers_of_snapshots_only(demo: DemoProject) -> None:
    commit(demo)
    run(demo, "db")
    run(demo, "look", "habitat-demo:6-files")
    assert clean.containers_of(demo.run_anew(), "demo") == (["habitat-demo"], ["look"])


@pytest.mark.guarantee("containers-of-committed-images-left-alone")
@pytest.mark.parametrize("verb", VERBS)
def test_commands_leave_build_container_of_habitat_on_committed_image_alone(demo: DemoProject, verb: str) -> None:
    commit(demo)
    write(demo.root, "habitats/other/config.yaml", "base_image: mine:1\n")
    build = run(demo, demo.project.temporary_containers.prefix("build", "other") + "base")
    VERBS[verb](demo.run_anew())
    assert is_up(demo, build)


@pytest.mark.guarantee("containers-of-committed-images-left-alone")
@pytest.mark.parametrize("is_tagged", [True, False])
def test_habitat_based_on_commit_of_own_container_destroys_its_containers(demo: DemoProject, is_tagged: bool) -> None:
    image = commit(demo)
    demo.engine.files("habitat-demo").write("/work", "of a day")
    write(demo.root, "habitats/demo/config.yaml", CONFIG.replace("base:1", "mine:1" if is_tagged else image))
    demo.build()
    start(demo.run_anew())
    labels = demo.engine._image("habitat-demo:final").labels
    assert {labels.get(LABEL_RUN), labels.get(LABEL_NONCE)} == {""}
    (state,) = status.overview(demo.run_anew(), ["demo"]).habitats
    assert state.container is not None
    assert len(state.set_aside) == 1, "the one of the image before"
    assert destroy(demo.run_anew(), "demo", yes)
    assert demo.engine.containers() == []


def test_destroy_keeps_container_renamed_by_person(demo: DemoProject) -> None:
    demo.engine.rename("habitat-demo", "thesis")
    destroy(demo.run_anew(), "demo", yes)
    assert demo.engine.container("thesis") is not None


def test_destroy_removes_containers_of_earlier_versions(demo: DemoProject) -> None:
    demo.engine.remove("habitat-demo")
    for name in ("habitat-demo", "habitat-demo-20260101-101010"):
        run(demo, name, "habitat-demo:final", {LABEL_RUN: "demo"})
    assert destroy(demo.run_anew(), "demo", yes)
    assert demo.engine.containers() == []


def test_destroy_removes_own_container_of_untagged_parent_image(demo: DemoProject) -> None:
    """The list of images leaves out what has no tag, but children."""
    commit(demo)
    demo.engine.files("habitat-demo").write("/work", "of a day")
    write(demo.root, "habitats/demo/config.yaml", f"{CONFIG}env: [A=b]\n")
    demo.build()
    start(demo.run_anew())
    (state,) = status.overview(demo.run_anew(), ["demo"]).habitats
    assert len(state.set_aside) == 1
    assert destroy(demo.run_anew(), "demo", yes)
    assert demo.engine.containers() == []


def test_every_started_container_has_its_own_nonce(demo: DemoProject) -> None:
    runtime_start.start(demo.run_anew(), "demo", FakeTerminal(), fresh=True)
    nonces = {container.labels[LABEL_NONCE] for container in demo.engine.containers()}
    assert len(nonces) == 2


RUN = {LABEL_RUN: "a"}


@pytest.mark.parametrize(
    ("name", "labels", "inherited", "own"),
    [
        ("habitat-a", RUN | {LABEL_NONCE: "1"}, {}, True),
        ("habitat-a", RUN | {LABEL_NONCE: "1"}, RUN | {LABEL_NONCE: "2"}, True),
        ("habitat-a", RUN | {LABEL_NONCE: "1"}, RUN | {LABEL_NONCE: "1"}, False),
        ("habitat-a", RUN | {LABEL_NONCE: ""}, {LABEL_RUN: ""}, True),
        ("habitat-a", RUN, {}, True),
        ("habitat-a", RUN, RUN, False),
        ("habitat-a", RUN, {LABEL_RUN: "b"}, False),
        ("habitat-a", {LABEL_NONCE: "1"}, {}, False),
        ("habitat-b", RUN | {LABEL_NONCE: "1"}, {}, False),
        ("habitat-a-20260101-101010", RUN | {LABEL_NONCE: "1"}, {}, True),
        ("habitat-a-20260101-101010-12", RUN | {LABEL_NONCE: "1"}, {}, True),
        ("habitat-a-20260101-101010-", RUN | {LABEL_NONCE: "1"}, {}, False),
        ("habitat-a-2026010-1101010", RUN | {LABEL_NONCE: "1"}, {}, False),
        ("habitat-ab-20260101-101010", RUN | {LABEL_NONCE: "1"}, {}, False),
        ("xhabitat-a", RUN | {LABEL_NONCE: "1"}, {}, False),
        ("habitat-", {LABEL_RUN: "", LABEL_NONCE: "1"}, {}, False),
    ],
)
def test_is_own_requires_habitat_name_and_nonce_that_differs_from_image(
    name: str, labels: dict[str, str], inherited: dict[str, str], own: bool
) -> None:
    assert is_own(Container("id", name, "image", True, labels), inherited) is own


@pytest.mark.guarantee("containers-of-committed-images-left-alone")
def test_destroy_keeps_volume_copied_with_same_labels(tmp_path: Path) -> None:
    demo = DemoProject(tmp_path, "base_image: base:1\nentry: {command: 'true', persist: [/srv/]}\n")
    demo.build()
    start(demo.run_anew())
    labels = {"habitat.name": "demo", LABEL_PERSIST: "/srv/"}
    demo.engine.create("base:1", "copier", ("x",), mounts=[VolumeMount("backup", "/backup", labels)])
    demo.engine.remove("copier")
    assert destroy(demo.run_anew(), "demo", yes)
    assert destroy(demo.run_anew(), "demo", yes, workspace=True)
    assert [volume.name for volume in demo.engine.volumes()] == ["backup"]
    assert volume_name("demo", "/srv/") != "backup"
