"""Containers, volumes and images that no habitat shows: of a removed habitat, or set aside while in use."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
from unit_helpers import DemoProject, FakeTerminal, built_demo, write

from phases.core.errors import Conflict
from phases.core.project import Project
from phases.core.report import status
from phases.core.runtime import clean, stop
from phases.core.runtime import start as runtime_start
from phases.core.runtime.destroy import destroy
from phases.core.runtime.orphans import Orphan, orphans

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from phases.core.engine.protocol import Piped

PERSISTING = "entry: {command: 'true', persist: [/srv/]}\n"


@pytest.fixture
def demo(tmp_path: Path) -> DemoProject:
    demo = built_demo(tmp_path, PERSISTING)
    runtime_start.start_detached(demo.run_anew(), "demo")
    return demo


def remove_habitat(demo: DemoProject) -> None:
    shutil.rmtree(demo.root / "habitats" / "demo")


def left(demo: DemoProject) -> list[Orphan]:
    return orphans(demo.run_anew())


@pytest.mark.guarantee("removed-habitats-listed")
def test_removed_habitat_is_listed_with_all_that_is_left(demo: DemoProject) -> None:
    assert left(demo) == []
    remove_habitat(demo)
    (row,) = left(demo)
    assert (row.name, row.containers, row.running) == ("demo", ["habitat-demo"], ["habitat-demo"])
    assert (len(row.volumes), row.images) == (2, len({*demo.engine.tags().values()}) - 1)


@pytest.mark.guarantee("removed-habitats-listed")
def test_renamed_habitat_is_listed_under_old_name(demo: DemoProject) -> None:
    (demo.root / "habitats" / "demo").rename(demo.root / "habitats" / "other")
    assert [row.name for row in left(demo)] == ["demo"]


def test_overview_has_orphans_only_on_request(demo: DemoProject) -> None:
    remove_habitat(demo)
    assert [row.name for row in status.overview(demo.run_anew(), [], with_orphans=True).orphans] == ["demo"]
    assert status.overview(demo.run_anew(), []).orphans == ()


@pytest.mark.guarantee("removed-habitats-listed")
def test_destroy_and_clean_remove_what_is_left_of_removed_habitat(demo: DemoProject) -> None:
    remove_habitat(demo)
    stop.stop(demo.run_anew(), "demo")
    clean.clean_all(demo.run_anew(), "demo")
    (row,) = left(demo)
    assert (row.containers, row.running, len(row.volumes), row.images) == (["habitat-demo"], [], 2, 0)
    assert destroy(demo.run_anew(), "demo", lambda _: True)
    assert destroy(demo.run_anew(), "demo", lambda _: True, workspace=True)
    assert left(demo) == []
    assert (demo.engine.volumes(), demo.engine.containers()) == ([], [])


def test_removed_habitat_that_was_cleaned_before_is_listed(demo: DemoProject) -> None:
    stop.stop(demo.run_anew(), "demo")
    clean.clean_all(demo.run_anew(), "demo")
    remove_habitat(demo)
    assert [row.name for row in left(demo)] == demo.run_anew().habitats.removed == ["demo"]


def test_removed_habitat_without_state_folder_is_listed_by_label(demo: DemoProject) -> None:
    remove_habitat(demo)
    shutil.rmtree(demo.root / ".stamps")
    (row,) = left(demo)
    assert (row.containers, row.images) == (["habitat-demo"], 0)


@pytest.fixture
def stranger(demo: DemoProject, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Another project on the same engine, without a habitat `demo`."""
    root = tmp_path_factory.mktemp("stranger")
    write(root, "habitats/mine/config.yaml", "base_image: base:1\n")
    return Project(root, lambda: demo.engine)


@pytest.mark.guarantee("removed-habitats-listed")
def test_habitat_of_other_project_is_no_orphan(stranger: Project) -> None:
    assert orphans(stranger) == []


@pytest.mark.guarantee("removed-habitats-listed")
def test_habitat_of_other_project_with_removed_name_is_no_orphan(stranger: Project) -> None:
    """This one had a habitat of that name once."""
    stranger.state_folder("demo").mkdir(parents=True)
    assert orphans(stranger) == []


def test_images_of_other_project_with_removed_name_are_no_orphans(demo: DemoProject, stranger: Project) -> None:
    destroy(demo.run_anew(), "demo", lambda _: True)
    stranger.state_folder("demo").mkdir(parents=True)
    assert orphans(stranger) == []


def test_container_of_earlier_version_counts_by_state_folder(demo: DemoProject) -> None:
    container = demo.engine._container("habitat-demo")
    del container.labels["habitat.project"]
    remove_habitat(demo)
    assert [row.containers for row in left(demo)] == [["habitat-demo"]]


# Set aside while in use


@pytest.fixture
def in_use(demo: DemoProject) -> Iterator[Piped]:
    """A command in a container that was set aside, with another container in its place."""
    process = demo.engine.exec_piped("habitat-demo", ["sleep", "inf"], user="root", workdir="/", env={})
    runtime_start.start(demo.run_anew(), "demo", FakeTerminal(), fresh=True)
    yield process
    process.send_signal("KILL")
    process.close()


@pytest.mark.guarantee("set-aside-containers-shown-and-stopped")
def test_status_shows_container_set_aside_that_runs(demo: DemoProject, in_use: Piped) -> None:
    (state,) = status.overview(demo.run_anew(), ["demo"]).habitats
    assert state.container is not None
    assert (state.container.running, len(state.set_aside), state.aside_up) == (False, 1, state.set_aside)
    in_use.send_signal("KILL")
    stop.stop(demo.run_anew(), "demo")
    (state,) = status.overview(demo.run_anew(), ["demo"]).habitats
    assert (len(state.set_aside), state.aside_up) == (1, [])


@pytest.mark.guarantee("set-aside-containers-shown-and-stopped")
@pytest.mark.usefixtures("in_use")
def test_stop_refuses_container_set_aside_in_use_unless_forced(demo: DemoProject) -> None:
    with pytest.raises(Conflict, match=r"habitat-demo-[-0-9]+-retired stays running: it is in use by 1 other command"):
        stop.stop(demo.run_anew(), "demo")
    assert any(container.running for container in demo.engine.containers())
    stop.stop(demo.run_anew(), "demo", force=True)
    assert not any(container.running for container in demo.engine.containers())


@pytest.mark.usefixtures("in_use")
def test_stop_stops_unused_container_beside_one_in_use(demo: DemoProject) -> None:
    demo.engine.start("habitat-demo")
    with pytest.raises(Conflict):
        stop.stop(demo.run_anew(), "demo")
    assert not demo.container().running
