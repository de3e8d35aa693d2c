"""How the habitats are, as `doit status` knows it: all states, on the engine fake."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from unit_helpers import DemoProject, make_user, write

from phases.core.cache import freshness, image_labels
from phases.core.cache.stamps import task_name
from phases.core.errors import EngineError, EngineUnreachable, NotFound
from phases.core.report import status
from phases.core.report.states import Base, PhaseState
from phases.core.runtime.own_containers import LABEL_RUN
from phases.core.runtime.session.presence import Presence
from phases.registry import named

if TYPE_CHECKING:
    from pathlib import Path

    from phases.core.engine.types import Layer
    from phases.core.report.states import HabitatState, Overview

CONFIG = "base_image: base:1\nsetup:\n  root: [echo one]\n"


@pytest.fixture
def demo(tmp_path: Path) -> DemoProject:
    demo = DemoProject(tmp_path, CONFIG)
    demo.engine.on_execute = lambda command: make_user(command) or (0, "")
    return demo


def look(demo: DemoProject, *names: str) -> Overview:
    project = demo.run_anew()
    return status.overview(project, names or project.habitats.names)


def demo_state(demo: DemoProject) -> HabitatState:
    (report,) = look(demo, "demo").habitats
    return report


def states(demo: DemoProject) -> str:
    """The initial of each phase's state, in order."""
    return "".join(phase.state[0] for phase in demo_state(demo).phases)


def container(demo: DemoProject, name: str, *, habitat: str = "demo") -> str:
    return demo.engine.create("base:1", name, ("/bin/sh", "-c", "sleep 600"), labels={LABEL_RUN: habitat})


# Phases


def test_status_habitat_never_built_is_new(demo: DemoProject) -> None:
    assert states(demo) == "n" * 12
    assert demo_state(demo).first == PhaseState(1, "base", "new", "it isn't built yet")


def test_status_built_habitat_is_cached_without_reasons(demo: DemoProject) -> None:
    demo.build()
    assert states(demo) == "c" * 12
    assert [phase.reason for phase in demo_state(demo).phases] == [""] * 12
    assert demo_state(demo).first is None


def test_status_config_change_is_stale_from_its_phase_with_first_reason(demo: DemoProject) -> None:
    demo.build()
    write(demo.root, "habitats/demo/config.yaml", CONFIG.replace("one", "two"))
    assert states(demo) == "c" * 6 + "s" * 6
    assert [phase.reason for phase in demo_state(demo).phases if phase.reason] == ["setup.root[0]: echo one → echo two"]


def test_status_partial_build_has_new_phases_after_cached_ones(demo: DemoProject) -> None:
    demo.build("workdir")
    assert states(demo) == "cccc" + "n" * 8


def test_status_phase_built_once_with_missing_image_is_stale(demo: DemoProject) -> None:
    demo.build()
    write(demo.root, "habitats/demo/config.yaml", CONFIG.replace("one", "two"))
    demo.build("setup")
    assert states(demo) == "c" * 7 + "s" * 5, "the images behind setup went when it was built again"


def test_status_failed_phase_is_failed_until_cached(demo: DemoProject) -> None:
    demo.build("files")
    demo.engine.add_image(
        image_labels.failed_tag("demo", named("setup")), labels={image_labels.LABEL_RESULT: image_labels.FAILED}
    )
    assert states(demo) == "c" * 6 + "f" + "n" * 5
    assert demo_state(demo).phases[6].reason == "it failed: `doit debug:demo` opens a shell there"
    demo.build()
    assert states(demo) == "c" * 12


def test_status_image_with_failed_tag_but_no_label_is_ignored(demo: DemoProject) -> None:
    demo.engine.add_image(image_labels.failed_tag("demo", named("setup")))
    assert states(demo) == "n" * 12


def test_status_forgotten_phase_is_stale(demo: DemoProject) -> None:
    demo.build()
    demo.project.stamps.forget("setup:demo")
    assert states(demo) == "c" * 6 + "s" * 6
    assert demo_state(demo).phases[6].reason == freshness.FORGOTTEN


# What is broken


def test_status_broken_config_is_error_of_its_habitat_only(demo: DemoProject) -> None:
    demo.build()
    write(demo.root, "habitats/broken/config.yaml", "base_imgae: base:1\n")
    container(demo, "habitat-broken", habitat="broken")
    broken, sound = look(demo).habitats
    assert broken.error.startswith("habitats/broken/config.yaml:1:")
    assert [phase.state for phase in broken.phases] == ["unknown"] * 12
    assert broken.container is not None, "its container is there all the same"
    assert (sound.error, sound.first) == ("", None)


def test_status_base_image_refused_by_engine_is_error_of_habitat(demo: DemoProject) -> None:
    def refuse(reference: str) -> None:
        raise EngineError(f"invalid reference {reference}")

    demo.engine.image_config = refuse  # type: ignore[method-assign]
    write(demo.root, "habitats/demo/config.yaml", "base_image: nonsense:x\n")
    assert demo_state(demo).error.startswith("habitats/demo/config.yaml:1:")


def test_status_without_engine_has_base_of_dockerfile(demo: DemoProject, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = EngineUnreachable("the engine stopped answering")

    def platform() -> str:
        raise gone

    demo.engine.failures["stored"] = gone
    monkeypatch.setattr(demo.engine, "platform", platform)
    write(demo.root, "habitats/two/Dockerfile", "FROM base:1\n")
    write(demo.root, "habitats/two/config.yaml", "env: []\n")
    report = look(demo)
    assert report.error == "the engine stopped answering"
    assert [one.base for one in report.habitats] == [Base("base:1", dockerfile=False), Base("base:1", dockerfile=True)]


@pytest.mark.parametrize("when", ["at once", "later"])
def test_status_without_engine_has_one_error_and_unknown_states(demo: DemoProject, when: str) -> None:
    write(demo.root, "habitats/broken/config.yaml", "base_imgae: base:1\n")
    if when == "later":
        demo.engine.failures["images"] = EngineUnreachable("the engine stopped answering")
    else:
        demo.engine.failures["stored"] = EngineUnreachable("the engine stopped answering")
    report = look(demo)
    assert (report.error, report.bytes) == ("the engine stopped answering", None)
    broken, sound = report.habitats
    assert broken.error.startswith("habitats/broken/config.yaml:1:")
    assert (sound.error, sound.bytes, sound.container) == ("", None, None)
    assert {phase.state for phase in (*broken.phases, *sound.phases)} == {"unknown"}
    assert sound.base == Base("base:1", dockerfile=False)


# Containers


def test_status_container_has_state_and_since_time(demo: DemoProject) -> None:
    assert demo_state(demo).container is None
    started = container(demo, "habitat-demo")
    demo.engine.start(started)
    up = demo_state(demo).container
    assert up is not None
    assert (up.name, up.running, up.pids) == ("habitat-demo", True, [])
    assert up.since is not None
    assert datetime.now(UTC) - up.since < timedelta(minutes=1)
    demo.engine.stop(started)
    stopped = demo_state(demo).container
    assert stopped is not None
    assert stopped.running is False
    assert stopped.since is not None
    assert stopped.since > up.since


def test_status_lists_containers_set_aside(demo: DemoProject) -> None:
    for name in ("habitat-demo-20260102-030405", "habitat-demo", "habitat-demo-20250102-030405"):
        container(demo, name)
    container(demo, "habitat-other", habitat="other")
    assert list(demo_state(demo).set_aside) == ["habitat-demo-20250102-030405", "habitat-demo-20260102-030405"]


def test_status_ignores_container_of_others_with_same_name(demo: DemoProject) -> None:
    demo.engine.create("base:1", "habitat-demo", ("true",))
    assert demo_state(demo).container is None


@pytest.mark.guarantee("status-is-read-only")
def test_status_lists_session_pids_without_blocking(demo: DemoProject) -> None:
    started = container(demo, "habitat-demo")
    demo.engine.start(started)
    session = Presence(demo.project.state_folder("demo"))
    with session.alone():
        session.join(started)
        (demo.root / f".stamps/demo/starts.{started[:12]}").open("a").write("stays\npid 99999999 since 10:00:00\n")
        actual = demo_state(demo).container
    assert actual is not None
    assert actual.pids == [os.getpid()]
    with session.leaving() as left:
        assert left.is_last


# Bases


def test_status_base_image_has_id_and_creation_time(demo: DemoProject) -> None:
    created = datetime(2026, 1, 2, tzinfo=UTC)
    demo.engine._images[demo.base].created = created
    assert demo_state(demo).base == Base("base:1", dockerfile=False, id=demo.base, created=created)


@pytest.mark.parametrize(
    ("dockerfile", "expected"),
    [
        ("FROM base:1\n", "base:1"),
        ("from --platform=linux/amd64 base:1 as last\nRUN true\n", "base:1"),
        ("FROM other:2 AS build\nFROM base:1 AS run\nFROM run\nCOPY --from=build /a /a\n", "base:1"),
        ("ARG TAG=1\nFROM base:$TAG\n", "base:1"),
        ("FROM base:$TAG\n", "base:"),
        ("FROM scratch\n", ""),
        ("# nothing\n", ""),
        ("FROM ba\x1b[2Jse:1\n", "ba\\x1b[2Jse:1"),
    ],
)
def test_status_base_of_dockerfile_is_image_under_last_stage(demo: DemoProject, dockerfile: str, expected: str) -> None:
    write(demo.root, "habitats/demo/Dockerfile.dev", dockerfile)
    write(demo.root, "habitats/demo/Dockerfile", "FROM another\n")
    write(demo.root, "habitats/demo/config.yaml", "dockerfile: Dockerfile.dev\n")
    actual = demo_state(demo)
    assert actual.base == Base(expected, dockerfile=True, id=demo.base if expected == "base:1" else "")
    assert [phase.name for phase in actual.phases][:2] == ["dockerfile", "base"]


# Sizes


def sized(demo: DemoProject, name: str, size: int, rest: str = "") -> None:
    """A habitat that is built, with a file of its own."""
    write(demo.root, f"habitats/{name}/payload", "x" * size)
    write(demo.root, f"habitats/{name}/config.yaml", f"{rest or 'base_image: base:1'}\n")
    project = demo.run_anew()
    for phase in project.phases(name):
        values = demo.builder.build(name, phase).values()
        project.stamps.write(task_name(phase, name), {"_values_:": values})
    demo.builder.close()


def test_status_size_is_disk_space_freed_by_removal(demo: DemoProject) -> None:
    sized(demo, "demo", 4_000_000)
    sized(demo, "other", 7_000_000)
    report = look(demo)
    sizes = {habitat.name: habitat.bytes or 0 for habitat in report.habitats}
    assert 4_000_000 <= sizes["demo"] < 4_010_000
    assert 7_000_000 <= sizes["other"] < 7_010_000
    base = sum(layer.size for layer in demo.engine.layers("base:1"))
    assert report.bytes == sum(sizes.values()) + base, "the base is counted once"
    (alone,) = look(demo, "demo").habitats
    assert alone.bytes == sizes["demo"]
    assert look(demo, "demo").bytes == sizes["demo"] + base


def test_status_size_of_shared_layers_counts_once_in_total_only(demo: DemoProject) -> None:
    sized(demo, "demo", 4_000_000)
    alone = look(demo).bytes
    write(demo.root, "habitats/other/config.yaml", "base_image: base:1\n")
    for image in demo.engine.images():
        for tag in image.tags:
            if tag.startswith("habitat-demo:") and "final" not in tag:
                demo.engine.tag(image.id, tag.replace("demo", "other"))
    report = look(demo)
    assert report.bytes == alone
    assert [habitat.bytes for habitat in report.habitats if habitat.name == "other"] == [0]
    assert (demo_state(demo).bytes or 0) < 10_000, "all but final is the other's as well"


def test_status_size_excludes_layers_used_by_image_of_person(demo: DemoProject) -> None:
    sized(demo, "demo", 4_000_000)
    container_id = demo.engine.create("habitat-demo:7-setup", "mine", ("true",))
    demo.engine.tag(demo.engine.commit(container_id, []), "mine:1")
    assert (demo_state(demo).bytes or 0) < 10_000, "all that is above setup is no 4 MB"


def test_status_size_includes_failed_image(demo: DemoProject) -> None:
    sized(demo, "demo", 10)
    before = demo_state(demo).bytes or 0
    container_id = demo.engine.create("habitat-demo:6-files", "building", ("true",))
    demo.engine.files(container_id).write("/var/lib/half", "x" * 50_000)
    demo.engine.tag(demo.engine.commit(container_id, []), image_labels.failed_tag("demo", named("setup")))
    assert (demo_state(demo).bytes or 0) - before == 50_000


def test_status_size_of_untagged_snapshot_counts_for_next_snapshot(demo: DemoProject) -> None:
    sized(demo, "demo", 4_000_000)
    before = demo_state(demo).bytes
    demo.engine.untag("habitat-demo:6-files")
    assert demo_state(demo).bytes == before


def test_status_size_of_common_dockerfile_base_counts_once(demo: DemoProject) -> None:
    for name in ("demo", "other"):
        write(demo.root, f"habitats/{name}/Dockerfile", "FROM base:1\nRUN true\n")
        sized(demo, name, 4_000_000, "description: of a Dockerfile")
    report = look(demo)
    base = sum(layer.size for layer in demo.engine.layers("base:1"))
    assert report.bytes == sum(habitat.bytes or 0 for habitat in report.habitats) + base


def test_status_size_without_parent_ids_is_equal(demo: DemoProject, monkeypatch: pytest.MonkeyPatch) -> None:
    sized(demo, "demo", 4_000_000)
    before = look(demo)
    messages = demo.engine.stored
    monkeypatch.setattr(
        demo.engine, "stored", lambda: [type(row)(row.id, "", row.size, row.created) for row in messages()]
    )
    assert look(demo) == before


@pytest.mark.parametrize("gone", ["habitat-demo:12-final", "base:1"])
def test_status_image_removed_during_query_is_no_error(
    demo: DemoProject, monkeypatch: pytest.MonkeyPatch, gone: str
) -> None:
    """Somebody builds meanwhile."""
    sized(demo, "demo", 4_000_000)
    image = demo.engine.tags()[gone]
    messages, layers = demo.engine.stored, demo.engine.layers

    def refuse(reference: str) -> list[Layer]:
        if reference == image:
            raise NotFound("No such image")
        return layers(reference)

    monkeypatch.setattr(
        demo.engine, "stored", lambda: [row for row in messages() if row.id != image or gone == "base:1"]
    )
    monkeypatch.setattr(demo.engine, "layers", refuse)
    assert 4_000_000 <= (demo_state(demo).bytes or 0) < 4_020_000


# What it asks


def test_status_engine_requests_do_not_grow_with_habitats(demo: DemoProject) -> None:
    for name in ("demo", "two", "three", "four"):
        sized(demo, name, 10)
    demo.engine.calls.clear()
    look(demo)
    assert sorted(demo.engine.calls) == [("images",), ("layers", demo.base), ("stored",)]


def test_status_asks_for_platform_once_for_all_dockerfiles(demo: DemoProject, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def platform() -> str:
        asked.append("platform")
        return "linux/amd64"

    monkeypatch.setattr(demo.engine, "platform", platform)
    look(demo)
    assert asked == [], "no habitat has a Dockerfile"
    for name in ("two", "three"):
        write(demo.root, f"habitats/{name}/Dockerfile", "FROM base:1\n")
        write(demo.root, f"habitats/{name}/config.yaml", "env: []\n")
    assert {one.base.dockerfile for one in look(demo).habitats if one.base} == {True, False}
    assert asked == ["platform"]


@pytest.mark.guarantee("status-is-read-only")
def test_status_changes_nothing(demo: DemoProject) -> None:
    def everything() -> object:
        files = {path: (path.stat().st_mtime_ns, path.is_file() and path.read_bytes()) for path in demo.root.rglob("*")}
        return files, demo.engine.tags(), demo.engine.images(), demo.engine.containers()

    demo.build()
    write(demo.root, "habitats/demo/config.yaml", CONFIG.replace("one", "two"))
    write(demo.root, "habitats/broken/config.yaml", "base_imgae: base:1\n")
    write(demo.root, "habitats/fresh/config.yaml", "base_image: absent:1\n")
    demo.engine.start(container(demo, "habitat-demo"))
    before = everything()
    demo.engine.calls.clear()
    look(demo)
    assert everything() == before
    assert {call[0] for call in demo.engine.calls} == {"images", "stored", "layers"}
