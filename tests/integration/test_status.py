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

from phases.core.cache import image_names
from phases.registry import named

if TYPE_CHECKING:
    from collections.abc import Iterator

    from phases.core.engine.client import DockerEngine

pytestmark = pytest.mark.engine

NOWHERE = {"DOCKER_HOST": "unix:///nowhere/docker.sock"}


@dataclass
class ThreeHabitats:
    """A project with a habitat that is up, one that changed and failed, and one that is broken."""

    project: Project
    up: str
    changed: str
    broken: str = "broken"

    def told(self, *names: str, env: dict[str, str] | None = None) -> dict[str, Any]:
        """What --json says, of its habitats by name."""
        done = self.project.doit("status", "--json", *names, env=env)
        document = json.loads(done.out.partition("ERROR")[0])
        return {**document, "habitats": {habitat["name"]: habitat for habitat in document["habitats"]}}


@pytest.fixture(scope="module")
def three_habitats(
    engine: DockerEngine, busybox: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ThreeHabitats]:
    three_habitats = ThreeHabitats(
        Project(tmp_path_factory.mktemp("project")), f"{fresh_name()}-a", f"{fresh_name()}-b"
    )
    for name in (three_habitats.up, three_habitats.changed):
        setup = "setup:\n  root: [head -c 300000 /dev/urandom >/etc/data]\n"
        three_habitats.project.habitat(name, f"base_image: {busybox}\n{setup}")
        done = three_habitats.project.doit(f"final:{name}")
        assert done.code == 0, done.out
    assert three_habitats.project.doit(f"start:{three_habitats.up}", "--detach").code == 0
    three_habitats.project.habitat(three_habitats.broken, "base_imgae: nothing\n")
    fail(three_habitats, busybox)
    yield three_habitats
    clear(engine, three_habitats.up)
    clear(engine, three_habitats.changed)


def fail(three_habitats: ThreeHabitats, busybox: str) -> None:
    """As a failure leaves it: the container of the phase as an image."""
    three_habitats.project.habitat(three_habitats.changed, f"base_image: {busybox}\nsetup:\n  root: [exit 3]\n")
    assert three_habitats.project.doit(f"setup:{three_habitats.changed}").code == 1
    tag = image_names.failed_tag(three_habitats.changed, named("setup"))
    container = docker("container", "create", image_names.snapshot_tag(three_habitats.changed, named("files")), "true")
    mark = f'LABEL {image_names.LABEL_RESULT}="{image_names.FAILED}"'
    docker("container", "commit", "--change", mark, container, tag)
    docker("container", "rm", container)


def states(habitat: dict[str, Any]) -> str:
    return "".join(phase["state"][0] for phase in habitat["phases"])


def test_status_json_describes_each_habitat(three_habitats: ThreeHabitats, busybox: str, engine: DockerEngine) -> None:
    told = three_habitats.told()
    assert (told["engine"], told["error"]) == (engine.address, "")
    up, changed, broken = (
        told["habitats"][name] for name in (three_habitats.up, three_habitats.changed, three_habitats.broken)
    )
    assert (states(up), states(changed), states(broken)) == ("c" * 12, "c" * 6 + "fsssss", "u" * 12)
    assert changed["phases"][6] == {
        "id": 7,
        "name": "setup",
        "state": "failed",
        "reason": f"it failed: doit debug:{three_habitats.changed} opens a shell there",
    }
    assert broken["error"].startswith("habitats/broken/config.yaml:1: unknown key 'base_imgae'")
    container = up["container"]
    since = datetime.fromisoformat(container.pop("since"))
    assert timedelta() < datetime.now(UTC) - since < timedelta(minutes=10)
    assert container == {"name": f"habitat-{three_habitats.up}", "running": True, "pids": []}
    assert up["base"]["reference"] == busybox
    assert up["base"]["id"] == docker("image", "inspect", "--format", "{{.Id}}", busybox)
    assert (changed["container"], broken["container"], broken["base"]) == (None, None, None)


def test_status_sizes_equal_those_of_engine(three_habitats: ThreeHabitats, busybox: str) -> None:
    def size(image: str) -> int:
        return int(docker("image", "inspect", "--format", "{{.Size}}", image))

    def made_from(image: str) -> str:
        return docker("image", "inspect", "--format", "{{.Parent}}", image)

    told = three_habitats.told(three_habitats.up, three_habitats.changed)
    own = {name: habitat["bytes"] for name, habitat in told["habitats"].items()}
    images = set(images_of(three_habitats.up).values())
    assert own[three_habitats.up] == sum(size(image) - size(made_from(image)) for image in images)
    assert own[three_habitats.up] > 300_000
    assert told["bytes"] == size(busybox) + sum(own.values())


def test_status_shows_pids_of_sessions(three_habitats: ThreeHabitats) -> None:
    with subprocess.Popen(
        (sys.executable, "-m", "doit", f"exec:{three_habitats.up}", "--", "sh", "-c", "echo in; cat"),
        cwd=three_habitats.project.root,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as visit:
        assert visit.stdin
        assert visit.stdout
        assert visit.stdout.readline() == b"in\n"
        assert three_habitats.told(three_habitats.up)["habitats"][three_habitats.up]["container"]["pids"] == [visit.pid]
        assert ", 1 in it" in three_habitats.project.doit("status", three_habitats.up)
        visit.stdin.close()
    assert visit.returncode == 0


@pytest.mark.guarantee("status-is-read-only")
def test_status_changes_nothing(three_habitats: ThreeHabitats) -> None:
    def everything() -> object:
        files = {
            path: (path.lstat().st_mtime_ns, path.is_file() and path.read_bytes())
            for path in three_habitats.project.root.rglob("*")
            if "__pycache__" not in path.parts
        }
        ours = [f"habitat-{name}" for name in (three_habitats.up, three_habitats.changed)]
        images = [images_of(name.removeprefix("habitat-")) for name in ours]
        return files, images, docker("container", "inspect", "--format", "{{json .State}}", ours[0])

    before = everything()
    for args in ((), ("--json",), (three_habitats.up,)):
        assert three_habitats.project.doit("status", *args).code == 0
    assert everything() == before


def test_status_is_coloured_on_terminal_and_plain_in_pipe(three_habitats: ThreeHabitats) -> None:
    with Terminal(three_habitats.project, "status", three_habitats.up, columns=80) as terminal:
        assert terminal.end() == 0
        assert "\x1b[32m✓\x1b[0m" in terminal.shown
    piped = three_habitats.project.doit("status", env={"COLUMNS": "40"})
    assert piped.code == 0
    assert "\x1b" not in piped.out
    (row,) = [line for line in piped.out.splitlines() if line.startswith(three_habitats.changed)]
    assert row.endswith(f"setup: it failed: doit debug:{three_habitats.changed} opens a shell there")


def test_status_unknown_name_is_one_line_error_with_suggestion(three_habitats: ThreeHabitats) -> None:
    done = three_habitats.project.doit("status", "brokn")
    assert (done.code, done.out) == (3, "ERROR: there is no habitat 'brokn': did you mean 'broken'?\n")


def test_status_names_accept_wildcards(three_habitats: ThreeHabitats) -> None:
    assert set(three_habitats.told(f"{three_habitats.up[:-2]}*", "bro*")["habitats"]) == {
        three_habitats.up,
        three_habitats.broken,
    }


def test_status_without_engine_lists_habitats_and_one_error(three_habitats: ThreeHabitats) -> None:
    done = three_habitats.project.doit("status", env=NOWHERE)
    assert done.code == 1
    assert done.out.count("no Docker engine answers at unix:///nowhere/docker.sock") == 1
    assert "unknown key 'base_imgae'" in done
    assert {states(habitat) for habitat in three_habitats.told(env=NOWHERE)["habitats"].values()} == {"u" * 12}


def test_status_with_silent_engine_ends_on_ctrl_c(project: Project, busybox: str) -> None:
    project.habitat("one", f"base_image: {busybox}\n")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(60)
        host = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
        with RunningDoit(project, "status", env={"DOCKER_HOST": host}) as waiting:
            connection, _ = silent.accept()
            with connection:
                waiting.process.send_signal(signal.SIGINT)
                done = waiting.end()
    assert (done.code, done.out) == (130, "\nstopped\n")
