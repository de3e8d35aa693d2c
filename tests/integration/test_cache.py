"""What runs again after snapshots and stamps are gone, in another clone, after a kill, a failure and a forget.

One habitat is built and saved once; each test changes a restored copy of it. Whether something was
built is read from the images as well: what is cached keeps its id, and what is built again rests on
the layers of the last snapshot that was not. The phases that each change runs again are in test_plan.py.
"""

from __future__ import annotations

import shutil
import signal
from copy import deepcopy
from typing import TYPE_CHECKING

import pytest
from conftest import (
    ROOT,
    Project,
    build_containers,
    inspect,
    left_containers,
    snapshots,
    untagged,
)
from full_habitat import (
    NAMES,
    TAGS,
    FullHabitat,
    SavedHabitat,
    command,
    own_path,
    repos,
    saved_habitat,
    setup,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from phases.core.engine.docker_api.client import DockerEngine

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def saved(engine: DockerEngine, git_image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SavedHabitat]:
    yield from saved_habitat(engine, git_image, tmp_path_factory.mktemp("habitat"))


@pytest.fixture
def habitat(saved: SavedHabitat) -> FullHabitat:
    """A built habitat, in the same state for every test."""
    return saved.restore()


def test_build_without_change_runs_nothing(habitat: FullHabitat) -> None:
    habitat.assert_builds_nothing()


# Snapshots taken away by hand


@pytest.mark.parametrize(
    ("gone", "first"),
    [
        (("repos", "tools", "final"), "repos"),
        (("final",), "final"),
    ],
)
def test_snapshot_removed_without_valid_successor_is_rebuilt(
    habitat: FullHabitat, gone: tuple[str, ...], first: str
) -> None:
    habitat.prune(*gone)
    habitat.assert_builds_from(first)
    habitat.assert_builds_nothing()


def test_snapshots_removed_before_valid_one_are_not_rebuilt(habitat: FullHabitat) -> None:
    with habitat.pruned(*(phase for phase in TAGS if phase != "final")):
        habitat.assert_builds_nothing()
        assert list(habitat.images()) == ["final"]


def test_change_after_removed_snapshot_builds_on_nearest_valid_one(habitat: FullHabitat) -> None:
    before = habitat.images()
    with habitat.pruned("env", "workdir", "files"):
        repos(habitat)
        habitat.save()
        assert habitat.build().ran == NAMES[NAMES.index("repos") :]
    assert habitat.images()["setup"] == before["setup"]


def test_change_directly_after_removed_snapshot_rebuilds_that_snapshot(habitat: FullHabitat) -> None:
    habitat.prune("setup")
    repos(habitat)
    habitat.save()
    before = habitat.images()
    assert habitat.build().ran == NAMES[NAMES.index("setup") :]
    assert habitat.images()["files"] == before["files"]


def test_final_and_stamps_removed_runs_verify_and_test_again(habitat: FullHabitat) -> None:
    habitat.prune("final")
    shutil.rmtree(habitat.project.root / ".stamps")
    habitat.assert_builds_from("verify")


# Elsewhere, interrupted, forgotten, taken back


def test_copied_project_builds_nothing(habitat: FullHabitat, tmp_path: Path) -> None:
    shutil.copytree(habitat.project.root, tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".stamps"))
    (tmp_path / ".stamps").mkdir()
    shutil.copy(habitat.project.root / ".stamps/_project.json", tmp_path / ".stamps")  # it is the same project
    before = snapshots(habitat.name)
    result = Project(tmp_path).doit(habitat.task("final"))
    assert result.code == 0, result.out
    assert result.ran == []
    assert snapshots(habitat.name) == before

    def slices_below(root: Path) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in (root / ".stamps" / habitat.name).glob("*.json")}

    assert len(slices_below(tmp_path)) == len(NAMES)
    assert slices_below(tmp_path) == slices_below(habitat.project.root)


def test_slices_contain_no_host_path(habitat: FullHabitat) -> None:
    for path in (habitat.project.root / ".stamps" / habitat.name).glob("*.json"):
        text = path.read_text()
        assert str(habitat.project.root) not in text, path.name
        assert str(ROOT) not in text, path.name


def test_killed_run_next_run_continues_with_unfinished_phase(habitat: FullHabitat) -> None:
    own_path(habitat)
    with habitat.building_setup("final") as running:
        running.process.send_signal(signal.SIGKILL)
        assert running.end().ran == NAMES[NAMES.index("habitat") : NAMES.index("setup")]
    assert build_containers(habitat.name), "the kill came while setup ran"
    habitat.path("gate/closed").unlink()
    habitat.assert_builds_from("setup")
    assert left_containers(habitat.name) == []
    assert untagged(habitat.name) == []


def test_forgotten_phase_and_later_ones_run_once(habitat: FullHabitat) -> None:
    forgotten = habitat.project.doit("forget", habitat.task("setup"))
    assert forgotten.code == 0, forgotten.out
    habitat.assert_builds_from("setup")
    habitat.assert_builds_nothing()


def test_forgotten_phase_without_stamp_runs(habitat: FullHabitat) -> None:
    shutil.rmtree(habitat.project.root / ".stamps")
    assert habitat.project.doit("forget", habitat.task("tools")).code == 0
    habitat.assert_builds_from("tools")
    habitat.assert_builds_nothing()


def test_forgotten_phase_stays_forgotten_until_built(habitat: FullHabitat) -> None:
    assert habitat.project.doit("forget", habitat.task("verify")).code == 0
    good = deepcopy(habitat.config)
    habitat.config["verify-fs"]["required_files"] = ["/nowhere"]
    habitat.save()
    assert habitat.run().code != 0
    habitat.config = good
    habitat.save()
    habitat.assert_builds_from("verify")


def test_failed_change_taken_back_runs_nothing(habitat: FullHabitat) -> None:
    good = deepcopy(habitat.config)
    habitat.config["setup"]["root"] = ["exit 1"]
    habitat.save()
    assert habitat.run().code != 0
    habitat.config = good
    habitat.save()
    habitat.assert_builds_nothing()


def test_earlier_config_restored_builds_its_image(habitat: FullHabitat) -> None:
    earlier = deepcopy(habitat.config)
    command(habitat)
    habitat.save()
    habitat.assert_builds_from("final")
    habitat.config = earlier
    habitat.save()
    habitat.assert_builds_from("final")
    final = inspect(f"habitat-{habitat.name}:final")
    assert final["Config"]["Cmd"][-1] == earlier["entry"]["command"]


def test_config_edited_during_build_is_built_by_next_run(habitat: FullHabitat) -> None:
    with habitat.building_setup("setup") as running:
        setup(habitat)
        habitat.save()
        habitat.path("gate/closed").unlink()
        assert running.end().code == 0
    habitat.assert_builds_from("setup", goal="setup")


def test_failure_in_earlier_phase_keeps_results_of_verify_and_test(project: Project, busybox: str, name: str) -> None:
    """verify and test leave no image: what they said of the tools snapshot holds while that does."""
    config = f"base_image: {busybox}\nenv: [USER=root]\nentry: {{command: echo COMMAND}}\n"
    project.habitat(name, config)
    assert project.doit(f"final:{name}").code == 0
    project.habitat(name, config + "repos: [{url: 'file:///nowhere', path: app}]\n")
    assert project.doit(f"final:{name}").code != 0
    project.habitat(name, config.replace("COMMAND", "other"))
    assert project.doit(f"final:{name}").ran == ["final"]
