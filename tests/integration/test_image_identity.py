"""Images and containers are what they are, on the real engine, whatever their tags, labels and files say meanwhile."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from conftest import Project, clear, docker, failed, fresh_name, inspect, snapshots

if TYPE_CHECKING:
    from collections.abc import Iterator

    from phases.core.engine.docker_api.client import DockerEngine

pytestmark = pytest.mark.engine

CONFIG = "base_image: {image}\nenv: [USER=dev]\n"

FORGED = {
    "habitat.result": "fail",
    "habitat.name": "forged",
    "habitat.persist": "forged",
    "habitat.surroundings": "forged",
    "habitat.failure.0": '{"forged',
    "habitat.seconds": "nan",
    "verify.hash": "forged",
    "final.hash": "forged",
}


@pytest.fixture
def names(engine: DockerEngine) -> Iterator[list[str]]:
    """Two names of habitats. What was built of them is gone afterwards."""
    actual = [fresh_name(), fresh_name()]
    yield actual
    for name in actual:
        clear(engine, name)


@pytest.mark.guarantee("checked-image-is-run")
def test_final_tag_moved_by_secret_command_runs_built_image(project: Project, names: list[str], busybox: str) -> None:
    name = names[0]
    steal = f"docker tag {busybox} habitat-{name}:final && docker tag {busybox} habitat-{name}:12-final && echo x"
    secrets = f"secrets: [{{name: T, command: '{steal}', start: true}}]\n"
    entry = "entry: {command: cat /etc/habitat-release}\n"
    project.habitat(name, CONFIG.format(image=busybox) + secrets + entry)
    result = project.doit(f"start:{name}")
    assert result.code == 0, result.out
    assert f"HABITAT={name}" in result
    assert inspect(f"habitat-{name}:final")["Id"] == inspect(busybox)["Id"], "the tag was moved meanwhile"


@pytest.mark.guarantee("snapshot-matches-hash")
def test_source_changed_during_build_by_command_fails_without_snapshot(
    project: Project, names: list[str], busybox: str
) -> None:
    name = names[0]
    tool = project.write(f"habitats/{name}/tools/bin/tool", "#!/bin/sh\necho one\n", 0o755)
    volume = f"volumes: [{{source: {tool.parent}, dest: /mnt/tools, gives_root_on_the_host: true}}]\n"
    setup = "setup: {root: ['echo \"#!/bin/sh\" >/mnt/tools/tool; echo echo two >>/mnt/tools/tool']}\n"
    project.habitat(name, CONFIG.format(image=busybox) + volume + setup)
    result = project.doit(f"final:{name}")
    assert result.code != 0
    assert f"{tool}: changed since it was read for this build: run the same command again" in result
    assert [tag for tag in snapshots(name) if "9-tools" in tag or "final" in tag] == []
    assert failed(name) == {}
    again = project.doit(f"final:{name}")
    assert again.code == 0, again.out
    ran = docker("run", "--rm", f"habitat-{name}:final", "/habitat/local/tools/bin/tool")
    assert ran == "two"


@dataclass
class Committed:
    """Two names of habitats of a project, an image that a person has committed from a container of the first, and the
    container `db` of that image, which runs.
    """

    project: Project
    names: list[str]
    image: str
    db: str


@pytest.fixture(scope="module")
def committed(engine: DockerEngine, busybox: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Committed]:
    project, names = Project(tmp_path_factory.mktemp("project")), [fresh_name(), fresh_name()]
    name = project.habitat(names[0], CONFIG.format(image=busybox) + "entry: {command: 'true'}\n")
    result = project.doit(f"start:{name}")
    assert result.code == 0, result.out
    image, db = f"habtest-mine-{name}:1", f"habtest-db-{name}"
    docker("commit", f"habitat-{name}", image)
    docker("run", "--detach", "--name", db, image, "sleep", "600")
    yield Committed(project, names, image, db)
    docker("rm", "--force", db)
    for name in names:
        clear(engine, name)
    docker("rmi", "--force", image)


def runs(container: str) -> bool:
    return docker("container", "inspect", "--format", "{{.State.Running}}", container) == "true"


@pytest.mark.guarantee("containers-of-committed-images-left-alone")
def test_commands_leave_container_of_committed_image_alone(committed: Committed) -> None:
    project, (name, other), image, db = committed.project, committed.names, committed.image, committed.db
    project.habitat(other, CONFIG.format(image=image))
    build = f"habitat_build_{other}_00000000_setup"
    docker("run", "--detach", "--name", build, image, "sleep", "600")
    (state,) = json.loads(project.doit("status", "--json", name).out)["habitats"]
    assert (state["container"]["running"], state["set_aside"]) == (False, [])
    for verb in (("stop:" + name,), ("destroy:" + name, "--yes")):
        result = project.doit(*verb)
        assert result.code == 0, result.out
        assert db not in result
    assert runs(db)
    assert runs(build)
    docker("rename", db, f"habitat-{name}")
    try:
        for task in (f"start:{name}", f"stop:{name}", f"logs:{name}"):
            result = project.doit(task)
            assert result.code == 1
            assert f"the container name habitat-{name} is taken by another container" in result
        assert project.doit(f"destroy:{name}", "--yes").code == 0
        assert runs(f"habitat-{name}")
    finally:
        docker("rename", f"habitat-{name}", db)


def test_habitat_on_commit_of_own_container_starts_and_is_destroyed(committed: Committed) -> None:
    project, name = committed.project, committed.names[0]
    project.habitat(name, CONFIG.format(image=committed.image) + "entry: {command: 'true'}\n")
    result = project.doit(f"start:{name}")
    assert result.code == 0, result.out
    labels = inspect(f"habitat-{name}:final")["Config"]["Labels"]
    assert {labels["habitat.run"], labels["habitat.nonce"], labels["habitat.confinement"]} == {""}
    result = project.doit(f"destroy:{name}", "--yes")
    assert result.code == 0, result.out
    assert docker("ps", "--all", "--quiet", "--filter", f"name=^habitat-{name}") == ""


@pytest.mark.guarantee("inherited-labels-are-emptied")
@pytest.mark.parametrize("kind", ["base image", "Dockerfile"])
def test_program_labels_of_base_image_are_ignored(project: Project, names: list[str], busybox: str, kind: str) -> None:
    base = f"habtest-forged-{names[0]}:1"
    lines = [f"LABEL {name}='{value}'" for name, value in FORGED.items()]
    project.write("base/Dockerfile", "\n".join([f"FROM {busybox}", *lines]) + "\n")
    for name in names:
        project.habitat(name, CONFIG.format(image=base) if kind == "base image" else "env: [USER=dev]\n")
        if kind == "Dockerfile":
            project.write(f"habitats/{name}/Dockerfile", "\n".join([f"FROM {busybox}", *lines]) + "\n")
    docker("build", "--quiet", "--tag", base, str(project.root / "base"))
    try:
        result = project.doit(f"final:{names[0]}")
        assert result.code == 0, result.out
        for image in snapshots(names[0]).values():
            labels = inspect(image)["Config"]["Labels"]
            assert not [key for key, value in labels.items() if "forged" in value], image
            assert (labels["habitat.result"], labels["habitat.persist"]) == ("", "")
        second = project.doit(f"final:{names[1]}", env={"HABITATS_SHARING": "on"})
        assert second.code == 0, second.out
        assert f"tools: shared with {names[0]}" in second
        assert project.doit("plan:" + names[0]).code == 0
    finally:
        docker("rmi", "--force", base)
