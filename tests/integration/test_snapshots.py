"""What a build leaves on the engine: which images, with which labels and which config."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from conftest import PREFIX, Project, clear, docker, fresh_name, inspect, left_containers, snapshots, untagged

if TYPE_CHECKING:
    from collections.abc import Iterator

    from phases.core.engine.docker_api.client import DockerEngine

pytestmark = pytest.mark.engine

SNAPSHOTS = (
    "1-base",
    "2-users",
    "3-env",
    "4-workdir",
    "5-habitat",
    "6-files",
    "7-setup",
    "8-repos",
    "9-tools",
    "12-final",
)
SLICES = (*SNAPSHOTS[:-1], "10-verify", "11-test", "12-final")

CONFIG = """
    description: looked at from all sides
    base_image: {base}
    env:
      - COLOUR=green and blue
    setup:
      root:
        - echo made >/etc/made
    verify-fs:
      required_files:
        - /etc/made
    tests:
      - tests/leaves-a-mark.sh
    entry:
      command: cat /etc/made
"""


@pytest.fixture(scope="module")
def built_habitat(
    engine: DockerEngine, git_image: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[BuiltHabitat]:
    """A habitat that was built once, for tests that only look."""
    project = Project(tmp_path_factory.mktemp("built"))
    name = project.habitat(fresh_name(), CONFIG.format(base=git_image))
    project.write(f"habitats/{name}/tests/leaves-a-mark.sh", "#!/bin/sh\ntouch /tmp/mark\n", mode=0o755)
    result = project.doit(f"final:{name}")
    assert result.code == 0, result.out
    yield BuiltHabitat(project, name, git_image)
    clear(engine, name)


class BuiltHabitat:
    def __init__(self, project: Project, name: str, base: str) -> None:
        self.project = project
        self.name = name
        self.base = base
        self.images = {tag: inspect(f"habitat-{name}:{tag}") for tag in snapshots(name)}

    def labels(self, tag: str) -> dict[str, str]:
        labels: dict[str, str] = self.images[tag]["Config"]["Labels"]
        return labels


def test_build_creates_one_image_per_snapshot_phase_and_nothing_else(built_habitat: BuiltHabitat) -> None:
    assert sorted(built_habitat.images) == sorted([*SNAPSHOTS, "final"])
    assert built_habitat.images["final"]["Id"] == built_habitat.images["12-final"]["Id"]
    assert len({image["Id"] for image in built_habitat.images.values()}) == len(SNAPSHOTS)
    assert untagged(built_habitat.name) == []
    assert left_containers(built_habitat.name) == []


@pytest.mark.parametrize("tag", SNAPSHOTS)
def test_hash_labels_equal_sha256_of_slices(built_habitat: BuiltHabitat, tag: str) -> None:
    folder = built_habitat.project.root / ".stamps" / built_habitat.name
    expected = {
        f"{slug.partition('-')[2]}.hash": hashlib.sha256((folder / f"{slug}.json").read_bytes()).hexdigest()
        for slug in SLICES[: SLICES.index(tag) + 1]
    }
    assert {key: value for key, value in built_habitat.labels(tag).items() if key.endswith(".hash")} == expected


def test_hash_label_can_be_checked_with_sha256sum(built_habitat: BuiltHabitat) -> None:
    slice_file = f".stamps/{built_habitat.name}/8-repos.json"
    label = docker(
        "image", "inspect", "--format", '{{index .Config.Labels "repos.hash"}}', f"habitat-{built_habitat.name}:8-repos"
    )
    assert built_habitat.project.run("sha256sum", slice_file).out.split() == [label, slice_file]


@pytest.mark.parametrize("tag", SNAPSHOTS)
def test_labels_name_habitat_phase_and_duration(built_habitat: BuiltHabitat, tag: str) -> None:
    labels = built_habitat.labels(tag)
    assert labels["habitat.name"] == built_habitat.name
    assert labels["habitat.phase"] == tag.partition("-")[2]
    assert re.fullmatch(r"\d+\.\d+", labels["habitat.seconds"])
    age = datetime.now(UTC) - datetime.fromisoformat(labels["habitat.created"])
    assert timedelta(0) <= age < timedelta(minutes=15)
    assert labels["maker"] == "tests", "the base image's own labels stay"


def test_parent_label_names_previous_snapshot(built_habitat: BuiltHabitat) -> None:
    parent = inspect(built_habitat.base)["Id"]
    for tag in SNAPSHOTS:
        assert built_habitat.labels(tag)["habitat.parent"] == parent
        parent = built_habitat.images[tag]["Id"]


def test_snapshot_layers_extend_base_image_with_one_layer_per_container(built_habitat: BuiltHabitat) -> None:
    """Phases that went on in one container have a layer in common; what is in it is little, or it had not."""
    base = inspect(built_habitat.base)
    before = base["RootFS"]["Layers"]
    for tag in SNAPSHOTS:
        actual = built_habitat.images[tag]
        layers = actual["RootFS"]["Layers"]
        assert layers[: len(before)] == before
        assert len(layers) <= len(before) + 2, "the phases', and the one of final's own container"
        assert actual["Size"] - base["Size"] < 1_000_000 * len(SNAPSHOTS)


@pytest.mark.parametrize("tag", SNAPSHOTS[:-1])
def test_snapshots_before_final_keep_entrypoint_and_command_of_base(built_habitat: BuiltHabitat, tag: str) -> None:
    config = built_habitat.images[tag]["Config"]
    assert config["Entrypoint"] == ["/bin/env"]
    assert config["Cmd"] == ["true"]
    assert config["User"] in ("", "0", "root")
    assert config["WorkingDir"] == ("/tmp" if SNAPSHOTS.index(tag) < SNAPSHOTS.index("4-workdir") else "/workspace")


def test_final_image_runs_command_as_user_in_workdir(built_habitat: BuiltHabitat) -> None:
    config = built_habitat.images["final"]["Config"]
    assert (config["Cmd"][0], config["Cmd"][-1]) == ("/bin/sh", "cat /etc/made")
    assert config["User"] == "agent"
    assert config["WorkingDir"] == "/workspace"
    assert not config["Entrypoint"]
    assert docker("run", "--rm", f"habitat-{built_habitat.name}:final") == "made"


def test_final_image_environment_is_base_plus_config(built_habitat: BuiltHabitat) -> None:
    entries = dict(entry.split("=", 1) for entry in built_habitat.images["final"]["Config"]["Env"])
    assert entries.pop("ORIGIN") == "image"
    assert entries.pop("COLOUR") == "green and blue"
    assert set(entries) <= {
        "PATH",
        "USER",
        "WORKDIR",
        "HABITAT_PATH",
        "SYSTEM_PATH",
        "SHARED_PATH",
        "LOCAL_PATH",
    }
    assert docker("run", "--rm", f"habitat-{built_habitat.name}:final", "sh", "-lc", "echo $COLOUR") == "green and blue"


def test_images_contain_no_config_of_build_container(built_habitat: BuiltHabitat) -> None:
    for tag in SNAPSHOTS:
        config = built_habitat.images[tag]["Config"]
        ours = {key for key in config["Labels"] if not key.endswith(".hash")}
        assert ours == {
            "maker",
            "habitat.name",
            "habitat.phase",
            "habitat.parent",
            "habitat.created",
            "habitat.seconds",
            "habitat.surroundings",
            "habitat.project",
            "habitat.project.id",
            "habitat.project.origin",
        }
        assert not config["OnBuild"]
        assert not config["Volumes"]


def test_files_written_by_tests_are_not_in_final_image(built_habitat: BuiltHabitat) -> None:
    docker("run", "--rm", f"habitat-{built_habitat.name}:final", "sh", "-c", "[ ! -e /tmp/mark ]")


def test_base_image_user_is_kept_in_first_snapshots(
    project: Project, engine: DockerEngine, git_image: str, name: str
) -> None:
    base = f"{PREFIX}-{name}-base:1"
    container = docker("container", "create", git_image)
    docker("container", "commit", "--change", "USER 33:33", container, base)
    docker("container", "rm", container)
    try:
        project.habitat(name, f"base_image: {base}")
        result = project.doit(f"users:{name}")
        assert result.code == 0, result.out
        assert [inspect(f"habitat-{name}:{tag}")["Config"]["User"] for tag in ("1-base", "2-users")] == ["33:33"] * 2
    finally:
        clear(engine, name)
        engine.untag(base)


def test_replaced_image_is_removed(project: Project, busybox: str, name: str) -> None:
    project.habitat(name, f"base_image: {busybox}\nenv: [USER=root, COLOUR=green]")
    assert project.doit(f"workdir:{name}").code == 0
    before = snapshots(name)
    project.habitat(name, f"base_image: {busybox}\nenv: [USER=root, COLOUR=blue]")
    result = project.doit(f"workdir:{name}")
    assert result.ran == ["env", "workdir"]
    after = snapshots(name)
    assert {tag for tag in before if before[tag] != after[tag]} == {"3-env", "4-workdir"}
    there = docker("image", "ls", "--all", "--quiet", "--no-trunc").split()
    assert before["3-env"] not in there
    assert before["4-workdir"] not in there


def test_replaced_image_used_by_container_is_kept(project: Project, busybox: str, name: str) -> None:
    project.habitat(name, f"base_image: {busybox}\nenv: [USER=root, COLOUR=green]")
    assert project.doit(f"env:{name}").code == 0
    container = docker("container", "create", "--name", f"habitat-{name}-work", f"habitat-{name}:3-env", "env")
    project.habitat(name, f"base_image: {busybox}\nenv: [USER=root, COLOUR=blue]")
    result = project.doit(f"env:{name}")
    assert result.code == 0, result.out
    assert "COLOUR=green" in docker("container", "start", "--attach", container).splitlines()


def test_failed_setup_is_not_tagged(project: Project, busybox: str, name: str) -> None:
    config = f"""
        base_image: {busybox}
        env: [USER=root]
        setup:
          root:
            - touch /half-done
            - exit 3
    """
    project.habitat(name, config)
    result = project.doit(f"final:{name}")
    assert result.code != 0
    assert sorted(snapshots(name)) == list(SNAPSHOTS[: SNAPSHOTS.index("7-setup")])
    assert untagged(name) == []
    assert left_containers(name) == []


def test_rebuilt_phase_untags_later_snapshots_immediately(project: Project, busybox: str, name: str) -> None:
    config = "base_image: {}\nenv: [USER=root, COLOUR={}]\nsetup:\n  root:\n    - {}"
    project.habitat(name, config.format(busybox, "green", "touch /done"))
    assert project.doit(f"repos:{name}").code == 0
    assert sorted(snapshots(name)) == list(SNAPSHOTS[: SNAPSHOTS.index("9-tools")])
    project.habitat(name, config.format(busybox, "blue", "exit 3"))
    assert project.doit(f"final:{name}").code != 0
    assert sorted(snapshots(name)) == list(SNAPSHOTS[: SNAPSHOTS.index("7-setup")])
    assert untagged(name) == []
