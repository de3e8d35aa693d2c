"""`doit status` on the real engine: what it says is so, and it touches nothing."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from conftest import Project, RunningDoit, clear, docker, fresh_name
from conftest import snapshots as images_of
from terminal import Terminal

from phases.core.cache import image_labels
from phases.registry import named

if TYPE_CHECKING:
    from collections.abc import Iterator

    from phases.core.engine.docker_api.client import DockerEngine

pytestmark = pytest.mark.engine

NOWHERE = {"DOCKER_HOST": "unix:///nowhere/docker.sock"}


@dataclass
class ThreeHabitats:
    """A project with a habitat that is up, one that changed and failed, and one that is broken."""

    project: Project
    up: str
    changed: str
    broken: str = "broken"

    def status_json(self, *names: str, env: dict[str, str] | None = None) -> dict[str, Any]:
        """What --json says, of its habitats by name."""
        result = self.project.doit("status", "--json", *names, env=env)
        document = json.loads(result.out.partition("ERROR")[0])
        return {**document, "habitats": {habitat["name"]: habitat for habitat in document["habitats"]}}


@pytest.fixture(scope="module")
def habitats(engine: DockerEngine, busybox: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ThreeHabitats]:
    habitats = ThreeHabitats(Project(tmp_path_factory.mktemp("project")), f"{fresh_name()}-a", f"{fresh_name()}-b")
    for name in (habitats.up, habitats.changed):
        setup = "setup:\n  root: [head -c 300000 /dev/urandom >/etc/data]\n"
        habitats.project.habitat(name, f"base_image: {busybox}\n{setup}")
        result = habitats.project.doit(f"final:{name}")
        assert result.code == 0, result.out
    assert habitats.project.doit(f"start:{habitats.up}", "--detach").code == 0
    habitats.project.habitat(habitats.broken, "base_imgae: nothing\n")
    fail(habitats, busybox)
    yield habitats
    clear(engine, habitats.up)
    clear(engine, habitats.changed)


def fail(habitats: ThreeHabitats, busybox: str) -> None:
    """As a failure leaves it: the container of the phase as an image."""
    habitats.project.habitat(habitats.changed, f"base_image: {busybox}\nsetup:\n  root: [exit 3]\n")
    assert habitats.project.doit(f"setup:{habitats.changed}").code == 1
    tag = image_labels.failed_tag(habitats.changed, named("setup"))
    container = docker("container", "create", image_labels.snapshot_tag(habitats.changed, named("files")), "true")
    mark = f'LABEL {image_labels.LABEL_RESULT}="{image_labels.FAILED}"'
    docker("container", "commit", "--change", mark, container, tag)
    docker("container", "rm", container)


def states(habitat: dict[str, Any]) -> str:
    return "".join(phase["state"][0] for phase in habitat["phases"])


def test_status_json_describes_each_habitat(habitats: ThreeHabitats, busybox: str, engine: DockerEngine) -> None:
    status = habitats.status_json()
    assert (status["engine"], status["error"]) == (engine.address, "")
    up, changed, broken = (status["habitats"][name] for name in (habitats.up, habitats.changed, habitats.broken))
    assert (states(up), states(changed), states(broken)) == ("c" * 12, "c" * 6 + "fsssss", "u" * 12)
    assert changed["phases"][6] == {
        "id": 7,
        "name": "setup",
        "state": "failed",
        "reason": f"it failed: `doit debug:{habitats.changed}` opens a shell there",
    }
    assert broken["error"].startswith("habitats/broken/config.yaml:1: unknown key 'base_imgae'")
    container = up["container"]
    since = datetime.fromisoformat(container.pop("since"))
    assert timedelta() < datetime.now(UTC) - since < timedelta(minutes=10)
    assert container == {"name": f"habitat-{habitats.up}", "running": True, "pids": []}
    assert up["base"]["reference"] == busybox
    assert up["base"]["id"] == docker("image", "inspect", "--format", "{{.Id}}", busybox)
    assert (changed["container"], broken["container"], broken["base"]) == (None, None, None)


def test_status_sizes_equal_those_of_engine(habitats: ThreeHabitats, busybox: str) -> None:
    def size(image: str) -> int:
        return int(docker("image", "inspect", "--format", "{{.Size}}", image))

    def made_from(image: str) -> str:
        return docker("image", "inspect", "--format", "{{.Parent}}", image)

    status = habitats.status_json(habitats.up, habitats.changed)
    own = {name: habitat["bytes"] for name, habitat in status["habitats"].items()}
    images = set(images_of(habitats.up).values())
    assert own[habitats.up] == sum(size(image) - size(made_from(image)) for image in images)
    assert own[habitats.up] > 300_000
    assert status["bytes"] == size(busybox) + sum(own.values())


def test_status_shows_pids_of_sessions(habitats: ThreeHabitats) -> None:
    with subprocess.Popen(
        (sys.executable, "-m", "doit", f"exec:{habitats.up}", "--", "sh", "-c", "echo in; cat"),
        cwd=habitats.project.root,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as visit:
        assert visit.stdin
        assert visit.stdout
        assert visit.stdout.readline() == b"in\n"
        assert habitats.status_json(habitats.up)["habitats"][habitats.up]["container"]["pids"] == [visit.pid]
        assert ", 1 in it" in habitats.project.doit("status", habitats.up)
        visit.stdin.close()
    assert visit.returncode == 0


@pytest.mark.guarantee("status-is-read-only")
def test_status_changes_nothing(habitats: ThreeHabitats) -> None:
    def everything() -> object:
        files = {
            path: (path.lstat().st_mtime_ns, path.is_file() and path.read_bytes())
            for path in habitats.project.root.rglob("*")
            if "__pycache__" not in path.parts
        }
        ours = [f"habitat-{name}" for name in (habitats.up, habitats.changed)]
        images = [images_of(name.removeprefix("habitat-")) for name in ours]
        return files, images, docker("container", "inspect", "--format", "{{json .State}}", ours[0])

    before = everything()
    for args in ((), ("--json",), (habitats.up,)):
        assert habitats.project.doit("status", *args).code == 0
    assert everything() == before


def test_status_is_coloured_on_terminal_and_plain_in_pipe(habitats: ThreeHabitats) -> None:
    with Terminal(habitats.project, "status", habitats.up, columns=80) as terminal:
        assert terminal.end() == 0
        assert "\x1b[32m✓\x1b[0m" in terminal.shown
    piped = habitats.project.doit("status", env={"COLUMNS": "40"})
    assert piped.code == 0
    assert "\x1b" not in piped.out
    (row,) = [line for line in piped.out.splitlines() if line.startswith(habitats.changed)]
    assert row.endswith(f"setup: it failed: `doit debug:{habitats.changed}` opens a shell there")


def test_status_unknown_name_is_one_line_error_with_suggestion(habitats: ThreeHabitats) -> None:
    result = habitats.project.doit("status", "brokn")
    assert (result.code, result.out) == (3, "ERROR: there is no habitat 'brokn': did you mean 'broken'?\n")


def test_status_names_accept_wildcards(habitats: ThreeHabitats) -> None:
    assert set(habitats.status_json(f"{habitats.up[:-2]}*", "bro*")["habitats"]) == {
        habitats.up,
        habitats.broken,
    }


def test_status_without_engine_lists_habitats_and_one_error(habitats: ThreeHabitats) -> None:
    result = habitats.project.doit("status", env=NOWHERE)
    assert result.code == 1
    assert result.out.count("no Docker engine answers at unix:///nowhere/docker.sock") == 1
    assert "unknown key 'base_imgae'" in result
    assert {states(habitat) for habitat in habitats.status_json(env=NOWHERE)["habitats"].values()} == {"u" * 12}


def test_status_with_silent_engine_ends_on_ctrl_c(project: Project, busybox: str) -> None:
    project.habitat("one", f"base_image: {busybox}\n")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(60)
        host = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
        with RunningDoit(project, "status", env={"DOCKER_HOST": host}) as waiting:
            connection, _ = silent.accept()
            with connection:
                waiting.process.send_signal(signal.SIGINT)
                result = waiting.end()
    assert (result.code, result.out) == (130, "\nstopped\n")
