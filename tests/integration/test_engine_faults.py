"""What a run says, records and leaves when the engine fails under it, and how the next one goes on."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import socket
import subprocess
import tempfile
import threading
from typing import TYPE_CHECKING

import pytest
from conftest import CommandResult, Project, RunningDoit, fresh_name, wait_until
from private_engine import PrivateEngine

from phases.registry import PHASES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.engine

NAMES = [phase.NAME for phase in PHASES[1:]]
SLUGS = {phase.NAME: f"{phase.ID}-{phase.NAME}" for phase in PHASES}
KEPT = [phase.NAME for phase in PHASES if phase.SNAPSHOT]

CONFIG = """
    base_image: {base}
    env: [USER=root, SYSTEM_PATH=, SHARED_PATH=]
    volumes:
      - {{source: gate, dest: /gate, readonly: true}}
    setup:
      root:
        - {setup}
    entry:
      command: "{command}"
"""

WAIT = "echo at the gate; while [ -e /gate/closed ]; do sleep 0.05; done"


class HabitatOnPrivateEngine:
    """A project with one habitat, on an engine that may break."""

    def __init__(self, root: Path, engine: PrivateEngine, base: str) -> None:
        self.project = Project(root)
        self.engine = engine
        self.base = base
        self.name = fresh_name()
        (root / "gate").mkdir()
        self.save()
        self.before: dict[str, str] = {}

    def begin(self) -> None:
        """All as it is at first, and up to date."""
        (self.project.root / "gate/closed").unlink(missing_ok=True)
        for path in (self.project.root / "habitats" / self.name).iterdir():
            if path.name != "config.yaml":
                path.unlink()
        for log in self.state.glob("*.log"):
            log.unlink()
        self.save()
        result = self.doit()
        assert result.code == 0, result.out
        self.before = self.snapshots()

    def save(self, setup: str = "touch /made", command: str = "echo hello", more: str = "") -> None:
        self.project.habitat(self.name, CONFIG.format(base=self.base, setup=setup, command=command) + more)

    def write(self, path: str, megabytes: int) -> Path:
        """A file in the habitat's folder, which phase 6 copies; no two are alike."""
        file = self.project.root / "habitats" / self.name / path
        file.write_bytes(os.urandom(1 << 20) * megabytes)
        return file

    def close_gate(self) -> Path:
        return self.project.write("gate/closed")

    def doit(self, *args: str) -> CommandResult:
        return self.project.doit(*(args or (f"final:{self.name}",)), env=self.engine.env)

    def running(self, *args: str) -> RunningDoit:
        return RunningDoit(self.project, *(args or (f"final:{self.name}",)), env=self.engine.env)

    # What there is

    @property
    def state(self) -> Path:
        return self.project.root / ".stamps" / self.name

    def wait_for_log(self, phase: str, word: str) -> None:
        path = self.state / f"{SLUGS[phase]}.log"
        wait_until(lambda: path.exists() and word in path.read_text())

    def snapshots(self) -> dict[str, str]:
        """Phase to image id, of those the engine has."""
        rows = self.engine.docker(
            "image", "ls", "--no-trunc", "--format", "{{.Tag}} {{.ID}}", f"habitat-{self.name}"
        ).splitlines()
        actual = dict(row.split() for row in rows)
        return {
            tag.partition("-")[2]: image
            for tag, image in actual.items()
            if tag[0].isdigit() and not tag.endswith("-failed")
        }

    def labels(self, image: str) -> dict[str, str]:
        labels: dict[str, str] = json.loads(
            self.engine.docker("image", "inspect", "--format", "{{json .Config.Labels}}", image)
        )
        return labels

    def stamped(self) -> list[str]:
        return [name for name in NAMES if (self.state / f"{SLUGS[name]}.stamp").exists()]

    def hash(self, phase: str) -> str:
        return hashlib.sha256((self.state / f"{SLUGS[phase]}.json").read_bytes()).hexdigest()

    def leftovers(self) -> list[str]:
        """Build containers and untagged images that stay: a run that is through doesn't wait for its last to go."""
        with contextlib.suppress(AssertionError):
            wait_until(lambda: not self._leftovers(), 5)
        return self._leftovers()

    def _leftovers(self) -> list[str]:
        return [
            *self.engine.docker("container", "ls", "--all", "--quiet", "--filter", "name=habitat_build_").split(),
            *self.engine.docker("image", "ls", "--quiet", "--filter", "dangling=true").split(),
        ]

    def check_records(self) -> None:
        """Every label is the hash of the slice that made the image, and every parent the one before."""
        tags = self.snapshots()
        for phase, image in tags.items():
            labels = self.labels(image)
            for before in NAMES[: NAMES.index(phase) + 1]:
                assert labels[f"{before}.hash"] == self.hash(before), f"{before}.hash of {phase}"
            parent = KEPT[KEPT.index(phase) - 1]
            if parent in tags:
                assert labels["habitat.parent"] == tags[parent]


def error_line(done: CommandResult) -> str:
    """The one line of a run that failed."""
    assert done.code in (1, 2), done.out  # 2: others waited for it in vain
    assert "Traceback" not in done
    lines = [line for line in done.out.splitlines() if line.startswith(("❌ ", "ERROR: "))]
    assert len(lines) == 1, done.out
    return lines[0]


def check_recovers(habitat: HabitatOnPrivateEngine, phase: str) -> None:
    """Nothing is recorded of the `phase` that failed; the next run does it and those after it, and all
    is as if nothing had been.
    """
    assert phase not in habitat.stamped()
    assert habitat.snapshots() == habitat.before
    result = habitat.doit()
    assert result.code == 0, result.out
    assert result.ran == NAMES[NAMES.index(phase) :]
    assert habitat.leftovers() == []
    assert habitat.stamped() == NAMES
    habitat.check_records()
    assert habitat.doit().ran == []


@pytest.fixture(scope="module")
def base(busybox: str) -> str:
    return busybox


@pytest.fixture(scope="module")
def private(base: str) -> Iterator[PrivateEngine]:
    with PrivateEngine() as engine:
        engine.import_image(base)
        yield engine


@pytest.fixture(scope="module")
def built_habitat(
    private: PrivateEngine, base: str, tmp_path_factory: pytest.TempPathFactory
) -> HabitatOnPrivateEngine:
    return HabitatOnPrivateEngine(tmp_path_factory.mktemp("project"), private, base)


@pytest.fixture
def habitat(built_habitat: HabitatOnPrivateEngine) -> HabitatOnPrivateEngine:
    """The habitat up to date, on an engine that runs."""
    if not built_habitat.engine.runs:
        built_habitat.engine.start()
    built_habitat.begin()
    return built_habitat


# The engine goes away. As in a crash, and as with `systemctl restart docker`.

ENDS = [PrivateEngine.kill, PrivateEngine.terminate]


@pytest.mark.guarantee("engine-failure-is-reported")
@pytest.mark.parametrize("end", ENDS)
def test_engine_ended_during_command_is_error_and_phase_runs_again(
    habitat: HabitatOnPrivateEngine, end: Callable[[PrivateEngine], None]
) -> None:
    habitat.save(setup=f"{WAIT}; echo {end.__name__}")
    gate = habitat.close_gate()
    with habitat.running() as running:
        habitat.wait_for_log("setup", "at the gate")
        end(habitat.engine)
        result = running.end()
    line = error_line(result)
    assert line.startswith(f"❌ setup:{habitat.name}: ")
    assert "exit code" not in line
    gate.unlink()
    habitat.engine.start()
    check_recovers(habitat, "setup")


@pytest.mark.guarantee("engine-failure-is-reported")
def test_engine_killed_during_upload_is_error_and_phase_runs_again(habitat: HabitatOnPrivateEngine) -> None:
    habitat.write("big", 200)
    with habitat.running() as running:
        wait_until(lambda: any(habitat.engine.data.glob("overlay2/*/diff/**/big*")))
        habitat.engine.kill()
        result = running.end()
    line = error_line(result)
    assert line.startswith(
        f"❌ files:{habitat.name}: {habitat.name}: files: copying into /: the engine stopped answering"
    )
    habitat.engine.start()
    check_recovers(habitat, "files")


@pytest.mark.guarantee("engine-failure-is-reported")
def test_engine_killed_during_commit_is_error_and_phase_runs_again(habitat: HabitatOnPrivateEngine) -> None:
    # What goes on makes the commit stop it, which can be seen from here.
    habitat.save(setup="sleep 1000 >/dev/null 2>&1 & dd if=/dev/urandom of=/big bs=1M count=200")
    with habitat.running() as running:
        wait_until(lambda: habitat.engine.docker("container", "ls", "--quiet", "--filter", "status=paused"))
        habitat.engine.kill()
        result = running.end()
    line = error_line(result)
    assert "committing the snapshot: the engine stopped answering" in line
    habitat.engine.start()
    check_recovers(habitat, "setup")


@pytest.fixture(scope="module")
def bridged(base: str) -> Iterator[PrivateEngine]:
    """An engine with a network, for the containers of a `docker build`."""
    with PrivateEngine(bridge=True) as engine:
        engine.import_image(base)
        yield engine


@pytest.mark.guarantee("engine-failure-is-reported")
@pytest.mark.parametrize("end", ENDS)
def test_engine_ended_during_dockerfile_build_is_error_and_build_runs_again(
    bridged: PrivateEngine, base: str, tmp_path: Path, end: Callable[[PrivateEngine], None]
) -> None:
    engine, habitat = bridged, HabitatOnPrivateEngine(tmp_path, bridged, base)
    dockerfile = f"habitats/{habitat.name}/Dockerfile"
    habitat.project.write(dockerfile, f"FROM {base}\nRUN echo at the gate; sleep 100\n")
    with habitat.running() as running:
        running.wait_for("at the gate\n")
        end(engine)
        result = running.end()
    line = error_line(result)
    assert line.startswith(f"❌ dockerfile:{habitat.name}: ")
    assert "building the Dockerfile: the engine stopped answering: see that it runs" in line
    engine.start()
    assert habitat.snapshots() == {}
    assert habitat.stamped() == []
    habitat.project.write(dockerfile, f"FROM {base}\nRUN touch /made\n")
    result = habitat.doit()
    assert result.code == 0, result.out
    assert result.ran == ["dockerfile", *NAMES]
    assert habitat.leftovers() == []


# No engine, and what is none


def answer(listener: socket.socket, reply: bytes | None) -> None:
    """Give whoever comes the `reply`, or keep them waiting."""
    kept = []
    with contextlib.suppress(OSError):
        while True:
            client = listener.accept()[0]
            kept.append(client)
            if reply is not None:
                client.recv(65536)
                client.sendall(reply)
                client.close()


HTTP = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


@pytest.mark.guarantee("no-engine-is-reported")
@pytest.mark.parametrize(
    ("listens", "reply"),
    [(None, None), (False, None), (True, b"220 mail.example.org ESMTP\r\n"), (True, HTTP), (True, b""), (True, None)],
    ids=["no socket", "nobody listens", "no HTTP", "no engine", "hangs up", "never answers"],
)
def test_address_without_engine_is_one_line_error_with_address(
    project: Project, listens: bool | None, reply: bytes | None
) -> None:
    project.habitat("hello", "base_image: nothing:1")
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listener:
        path = f"{folder}/docker.sock"
        if listens is not None:
            listener.bind(path)
        if listens:
            listener.listen()
            threading.Thread(target=answer, args=(listener, reply), daemon=True).start()
        result = project.doit("final:hello", env={"DOCKER_HOST": f"unix://{path}"}, timeout=40)
        listener.shutdown(socket.SHUT_RDWR) if listens else None
    other = f"unix://{path} is not a Docker engine (it answered 'hello')"
    message = other if reply == HTTP else f"no Docker engine answers at unix://{path}"
    assert error_line(result).startswith(f"❌ {message}: ")
    assert len([line for line in result.out.splitlines() if "still waiting for the engine" not in line]) == 1
    assert list((project.root / ".stamps/hello").glob("*.stamp")) == []


# Full disks


@pytest.fixture(scope="module")
def habitat_on_small_disk(base: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HabitatOnPrivateEngine]:
    """A habitat that is up to date, on an engine with a small disk of its own."""
    with PrivateEngine(size="120m") as engine:
        engine.import_image(base)
        habitat = HabitatOnPrivateEngine(tmp_path_factory.mktemp("full"), engine, base)
        habitat.begin()
        yield habitat


def fill(disk: Path, left: int = 0) -> Path:
    """Leave that many megabytes on a disk. Returns the file that takes the others."""
    filler = disk / "filler"
    filler.unlink(missing_ok=True)
    free = os.statvfs(disk)
    with filler.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, free.f_bavail * free.f_frsize - (left << 20))
    return filler


def write_in_setup(habitat: HabitatOnPrivateEngine) -> None:
    habitat.save(setup="dd if=/dev/urandom of=/big bs=1M count=14")


def write_in_files(habitat: HabitatOnPrivateEngine) -> None:
    habitat.write("big", 14)


@pytest.mark.guarantee("full-disk-is-reported")
@pytest.mark.parametrize(
    ("write", "phase", "left", "case"),
    [
        (write_in_setup, "setup", 8, "setup command 1 of 1 ended with exit code 1: "),
        (write_in_files, "files", 8, "copying into /: "),
        (write_in_setup, "setup", 20, "committing the snapshot: "),
    ],
    ids=["command", "upload", "commit"],
)
def test_engine_disk_full_error_names_remedy_and_phase_runs_again(
    habitat_on_small_disk: HabitatOnPrivateEngine,
    write: Callable[[HabitatOnPrivateEngine], None],
    phase: str,
    left: int,
    case: str,
) -> None:
    habitat_on_small_disk.begin()
    write(habitat_on_small_disk)
    filler = fill(habitat_on_small_disk.engine.data, left)
    result = habitat_on_small_disk.doit()
    line = error_line(result)
    assert line.startswith(f"❌ {phase}:{habitat_on_small_disk.name}: ")
    assert case in line
    assert "the engine's disk is full: make room there (docker system df), then run the same command again" in line
    filler.unlink()
    check_recovers(habitat_on_small_disk, phase)


@contextlib.contextmanager
def mounted(folder: Path, *options: str) -> Iterator[None]:
    subprocess.run(["mount", *options, str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.guarantee("full-disk-is-reported")
def test_host_disk_full_is_error_and_next_run_continues(habitat: HabitatOnPrivateEngine, tmp_path: Path) -> None:
    fresh = HabitatOnPrivateEngine(tmp_path, habitat.engine, habitat.base)
    stamps = tmp_path / ".stamps"
    disk_full = "can't be written (No space left on device): make room on the disk"
    with mounted(stamps, "-t", "tmpfs", "-o", "size=1m", "tmpfs"):
        filler = fill(stamps)
        assert error_line(fresh.doit()) == f"❌ .stamps/{fresh.name}/1-base.json: {disk_full}"
        filler.unlink()

        assert fresh.doit(f"users:{fresh.name}").code == 0
        filler = fill(stamps)
        assert error_line(fresh.doit()) == f"❌ env:{fresh.name}: .stamps/{fresh.name}/3-env.built: {disk_full}"
        assert fresh.stamped() == ["base", "users"]
        filler.unlink()

        assert fresh.doit(f"files:{fresh.name}").ran == ["workdir", "habitat", "files"], "what was built is known"
        filler = fill(stamps)
        assert error_line(fresh.doit()) == f"❌ setup:{fresh.name}: .stamps/{fresh.name}/7-setup.log: {disk_full}"
        filler.unlink()

        fresh.before = fresh.snapshots()
        check_recovers(fresh, "setup")
        assert [path.name for path in fresh.state.glob(".*")] == [], "nothing half-written stays"


def test_host_disk_full_stops_parallel_builds_with_errors(habitat: HabitatOnPrivateEngine, tmp_path: Path) -> None:
    fresh = HabitatOnPrivateEngine(tmp_path, habitat.engine, habitat.base)
    beside = fresh.project.habitat(fresh_name(), f"base_image: {habitat.base}\nsetup: {{root: [touch /made]}}")
    stamps = tmp_path / ".stamps"
    with mounted(stamps, "-t", "tmpfs", "-o", "size=1m", "tmpfs"):
        assert fresh.doit(f"users:{fresh.name}", f"files:{beside}").code == 0
        fill(stamps)
        result = fresh.doit("build", "-n", "2")
        assert result.code == 2
        assert "Traceback" not in result
        disk_full = "can't be written (No space left on device): make room on the disk"
        assert f"❌ setup:{beside}: .stamps/{beside}/7-setup.log: {disk_full}" in result
        assert f"❌ env:{fresh.name}: .stamps/{fresh.name}/3-env.built: {disk_full}" in result
        (stamps / "filler").unlink()
        result = fresh.doit("build", "-n", "2")
        assert result.code == 0, result.out
        assert fresh.leftovers() == []


@pytest.mark.guarantee("full-disk-is-reported")
def test_host_disk_read_only_is_error(habitat: HabitatOnPrivateEngine) -> None:
    folder = habitat.project.root / ".stamps"
    with mounted(folder, "--bind", str(folder)):
        subprocess.run(["mount", "-o", "remount,bind,ro", str(folder)], check=True)
        assert habitat.doit().code == 0, "what is up to date needs nothing written"
        habitat.save(setup="touch /other")
        assert error_line(habitat.doit()) == (
            f"❌ .stamps/{habitat.name}/7-setup.json: can't be written (Read-only file system): "
            "make .stamps/ writable for you"
        )
    assert habitat.doit().ran == NAMES[NAMES.index("setup") :]


# Somebody takes away what the run is at


@pytest.mark.guarantee("removed-images-and-containers")
@pytest.mark.parametrize("way", [("rm", "--force"), ("kill",)])
def test_build_container_ended_during_command_is_error(habitat: HabitatOnPrivateEngine, way: tuple[str, ...]) -> None:
    habitat.save(setup=f"{WAIT}; echo {way[0]}")
    gate = habitat.close_gate()
    with habitat.running() as running:
        habitat.wait_for_log("setup", "at the gate")
        (container,) = habitat.engine.docker("ps", "--quiet").split()
        habitat.engine.docker(*way, container)
        result = running.end()
    assert error_line(result) == (
        f"❌ setup:{habitat.name}: habitats/{habitat.name}/config.yaml:8: "
        "the build container was stopped or removed while setup command 1 of 1 ran: "
        f"run the same command again, unless the command itself did that; log: .stamps/{habitat.name}/7-setup.log"
        + (f"; `doit debug:{habitat.name}` opens a shell there" if way == ("kill",) else "")
    )
    lines = [line for line in result.out.splitlines() if "still waiting for the engine" not in line]
    assert not [line for line in lines if "⚠" in line]
    gate.unlink()
    check_recovers(habitat, "setup")


@pytest.mark.guarantee("removed-images-and-containers")
def test_parent_snapshot_removed_during_command_build_succeeds(habitat: HabitatOnPrivateEngine) -> None:
    habitat.save(setup=f"{WAIT}; echo its snapshot goes")
    gate = habitat.close_gate()
    with habitat.running() as running:
        habitat.wait_for_log("setup", "at the gate")
        habitat.engine.docker("image", "rm", "--force", f"habitat-{habitat.name}:6-files")
        gate.unlink()
        result = running.end()
    assert result.code == 0, result.out
    assert "files" not in habitat.snapshots()
    habitat.check_records()
    assert habitat.leftovers() == []
    assert habitat.doit().ran == []


@pytest.mark.guarantee("removed-images-and-containers")
def test_parent_snapshot_removed_before_next_phase_is_error_and_rebuilt(habitat: HabitatOnPrivateEngine) -> None:
    habitat.project.write(f"habitats/{habitat.name}/wait.sh", f"#!/bin/sh\n{WAIT}\n", mode=0o755)
    habitat.save(more="    tests: [wait.sh]\n")
    gate = habitat.close_gate()
    with habitat.running() as running:
        habitat.wait_for_log("test", "at the gate")
        habitat.engine.docker("image", "rm", "--force", f"habitat-{habitat.name}:9-tools")
        gate.unlink()
        result = running.end()
    assert error_line(result) == (
        f"❌ final:{habitat.name}: {habitat.name}: final: "
        "the snapshot that it starts from is gone: run the same command again"
    )
    assert habitat.doit().ran == NAMES[NAMES.index("tools") :]
    habitat.check_records()
    assert habitat.leftovers() == []


@pytest.mark.guarantee("removed-images-and-containers")
def test_final_image_removed_start_rebuilds_final(habitat: HabitatOnPrivateEngine) -> None:
    habitat.engine.docker("image", "rm", "--force", f"habitat-{habitat.name}:final", f"habitat-{habitat.name}:12-final")
    result = habitat.doit(f"start:{habitat.name}")
    assert result.code == 0, result.out
    assert result.ran == ["final"]
    assert "hello\n" in result
    habitat.engine.docker("rm", f"habitat-{habitat.name}")


@pytest.mark.guarantee("removed-images-and-containers")
def test_base_image_removed_during_build_fails_only_when_needed_again(habitat: HabitatOnPrivateEngine) -> None:
    habitat.save(setup=f"{WAIT}; echo its base goes")
    gate = habitat.close_gate()
    with habitat.running() as running:
        habitat.wait_for_log("setup", "at the gate")
        habitat.engine.docker("image", "rm", "--force", habitat.base)
        gate.unlink()
        result = running.end()
    try:
        assert result.code == 0, result.out
        assert habitat.doit().ran == []
        assert habitat.doit("forget", f"base:{habitat.name}").code == 0
        assert f"base image {habitat.base} can't be pulled" in error_line(habitat.doit())
        assert habitat.snapshots() != {}
    finally:
        habitat.engine.import_image(habitat.base)
    assert habitat.doit().ran == NAMES
    habitat.check_records()


@pytest.mark.guarantee("removed-images-and-containers")
@pytest.mark.parametrize(
    ("way", "told_as"), [(("rm", "--force"), "was (removed|stopped): "), (("kill",), "was stopped: ")]
)
def test_container_ended_during_start_is_error(
    habitat: HabitatOnPrivateEngine, way: tuple[str, ...], told_as: str
) -> None:
    habitat.save(command=WAIT)
    habitat.close_gate()
    with habitat.running(f"start:{habitat.name}") as running:
        running.wait_for("at the gate\n")
        habitat.engine.docker(*way, f"habitat-{habitat.name}")
        result = running.end()
    # One that is being removed is first seen as one that was stopped.
    assert re.match(f"❌ {habitat.name}: container habitat-{habitat.name} {told_as}", error_line(result))
    (habitat.project.root / "gate/closed").unlink()
    assert habitat.doit(f"start:{habitat.name}").code == 0
    habitat.engine.docker("rm", f"habitat-{habitat.name}")
