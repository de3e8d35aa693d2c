"""The whole program on Podman, which speaks Docker's API with an accent."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from conftest import DEBIAN, ROOT, CommandResult, Project, RunningDoit, fresh_name, wait_until
from measurements import LINES
from podman_engine import PodmanEngine

from phases.core.container.gate_variables import PORT
from phases.core.network import image as network_image
from phases.core.project import Project as Run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from phases.core.engine.docker_api.client import DockerEngine

pytestmark = [pytest.mark.engine, pytest.mark.guarantee("podman-works")]

CANARY = "canary-7f3b9c41d2"

#: For a user that busybox can make; nothing of the system layer.
BARE = "env: [USER=ada, WORKDIR=/work, SYSTEM_PATH=, SHARED_PATH=, HABITAT_PATH=]"


@dataclass
class PodmanProject:
    """A project whose engine is a Podman."""

    podman: PodmanEngine
    project: Project
    base: str

    def habitat(self, text: str = "", name: str = "") -> str:
        """A habitat's name, made up unless there is one."""
        return self.project.habitat(name or fresh_name(), f"base_image: {self.base}\n{BARE}\n{text}")

    def doit(self, *args: str, **env: str) -> CommandResult:
        return self.project.doit(*args, env={"HABITATS_SHARING": "on", **self.podman.env, **env})

    def built(self, text: str = "") -> str:
        """The name of a habitat that is built."""
        name = self.habitat(text)
        result = self.doit(f"final:{name}")
        assert result.code == 0, result.out
        return name

    def pipe(self, *args: str, given: bytes) -> tuple[int, bytes, bytes]:
        """Exit code and the two outputs of a `doit` that is given an input."""
        env = {**os.environ, **self.podman.env}
        argv = (sys.executable, "-m", "doit", *args)
        result = subprocess.run(argv, cwd=self.project.root, env=env, input=given, capture_output=True, check=False)
        return result.returncode, result.stdout, result.stderr

    def images(self, name: str) -> dict[str, str]:
        """What Podman has of a habitat: tag to id."""
        rows = self.podman.docker("image", "ls", "--no-trunc", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}")
        actual = dict(row.split() for row in rows.splitlines())
        return {tag.rpartition(":")[2]: image for tag, image in actual.items() if f"habitat-{name}:" in tag}

    def containers(self, name: str) -> list[str]:
        rows = self.podman.docker("container", "ls", "--all", "--format", "{{.Names}}").splitlines()
        return sorted(row for row in rows if name in row)

    def volumes(self, name: str) -> list[str]:
        return [row for row in self.podman.docker("volume", "ls", "--format", "{{.Name}}").splitlines() if name in row]


@pytest.fixture(scope="module")
def podman(busybox: str) -> Iterator[PodmanEngine]:
    with PodmanEngine() as podman:
        podman.import_image(busybox)
        yield podman


@pytest.fixture(scope="module")
def podman_project(podman: PodmanEngine, busybox: str, tmp_path_factory: pytest.TempPathFactory) -> PodmanProject:
    """The habitats of all tests are of one project, and share what they have in common: that saves most builds."""
    return PodmanProject(podman, Project(tmp_path_factory.mktemp("project")), busybox)


def test_podman_hello_builds_starts_and_is_cached_second_time(podman: PodmanEngine, project: Project) -> None:
    podman.import_image(DEBIAN)
    podman_project = PodmanProject(podman, project, DEBIAN)
    name = fresh_name()
    shutil.copytree(ROOT / "habitats/hello", podman_project.project.root / "habitats" / name)
    config = podman_project.project.root / "habitats" / name / "config.yaml"
    config.write_text(config.read_text().replace("name: hello", f"name: {name}"))
    first = podman_project.doit(f"start:{name}")
    assert first.code == 0, first.out
    assert len(first.ran) == 12
    assert "user:    agent\nworkdir: /workspace\n" in first.out
    again = podman_project.doit(f"start:{name}")
    assert (again.code, again.ran) == (0, [])
    assert "user:    agent\nworkdir: /workspace\n" in again.out
    assert podman_project.doit(f"plan:{name}").out == f"{name}: nothing to do\n"
    assert podman_project.doit("clean").code == 0
    assert podman_project.images(name) == {}


def test_podman_config_change_runs_its_phase_and_later_ones(podman_project: PodmanProject) -> None:
    name = podman_project.built("setup: {root: [echo one >/made]}")
    before = podman_project.images(name)
    podman_project.habitat("setup: {root: [echo two >/made]}", name)
    plan = podman_project.doit(f"plan:{name}")
    assert (plan.code, "setup" in plan, "files" in plan) == (1, True, False)
    built = podman_project.doit(f"final:{name}")
    assert (built.code, built.ran[:2], len(built.ran)) == (0, ["setup", "repos"], 6)
    after = podman_project.images(name)
    assert {tag for tag in before if before[tag] == after[tag]} == {
        "1-base",
        "2-users",
        "3-env",
        "4-workdir",
        "5-habitat",
        "6-files",
    }
    assert podman_project.doit(f"exec:{name}", "--", "cat", "/made").out == "two\n"


def test_podman_forgotten_phase_runs_again(podman_project: PodmanProject) -> None:
    name = podman_project.built()
    assert podman_project.doit("forget", f"setup:{name}").code == 0
    assert podman_project.doit(f"setup:{name}").ran == ["setup"]
    assert podman_project.doit(f"setup:{name}").ran == []


def test_podman_workdir_with_special_characters_is_used_by_commands(podman_project: PodmanProject) -> None:
    workdir = """/a 'b' "c"/$HOME \\ [z]? é"""
    quoted = workdir.replace("'", "''").replace("$", "$$")
    name = podman_project.habitat()
    config = podman_project.project.root / f"habitats/{name}/config.yaml"
    config.write_text(config.read_text().replace("WORKDIR=/work", f"'WORKDIR={quoted}'"))
    result = podman_project.doit(f"start:{name}", "--cmd", "pwd")
    assert result.code == 0, result.out
    assert workdir in result.out.splitlines()


def test_podman_debug_reruns_failed_command(podman_project: PodmanProject) -> None:
    name = podman_project.habitat("setup:\n  user: ['echo half >~/half; cat ~/mended; echo whole']\n")
    failed = podman_project.doit(f"final:{name}")
    assert failed.code == 2
    assert failed.out.splitlines()[-1].endswith(f"; `doit debug:{name}` opens a shell there")
    code, out, _ = podman_project.pipe(f"debug:{name}", given=b"id -un; cat ~/half; touch ~/mended; again; exit 5\n")
    assert (code, out.split()) == (5, [b"ada", b"half", b"whole"])
    assert "7-setup-failed" in podman_project.images(name)
    podman_project.habitat("setup: {user: [true]}", name)
    assert podman_project.doit(f"final:{name}").code == 0
    assert "7-setup-failed" not in podman_project.images(name)
    assert podman_project.containers(name) == []


def test_podman_exec_passes_bytes_and_exit_code(podman_project: PodmanProject) -> None:
    name = podman_project.built()
    big = bytes(range(256)) * 20_000
    assert podman_project.pipe(f"exec:{name}", "--", "cat", given=big) == (0, big, b"")
    assert podman_project.pipe(f"exec:{name}", "--", "sh", "-c", "echo out; echo err >&2; exit 7", given=b"") == (
        7,
        b"out\n",
        b"err\n",
    )
    code, out, err = podman_project.pipe(f"exec:{name}", "--", "habtest-absent", given=b"")
    assert (code, out) == (127, b"")
    assert b"habtest-absent" in err
    assert podman_project.doit(f"exec:{name}", "--", "id", "-un").out == "ada\n"


# Puts a file in the place of another, as editors do.
REPLACE = 'echo new >"$1.tmp"; mv "$1.tmp" "$1"'


def test_podman_persisted_paths_survive_containers_until_destroy(podman_project: PodmanProject) -> None:
    config = """
setup:
  user: [echo image >~/.state, mkdir ~/.cache && echo image >~/.cache/note]
entry:
  persist: [~/.state, ~/.cache/, ~/.new/]
"""
    name = podman_project.built(config)
    show = ("sh", "-c", "cat ~/.state ~/.cache/note; ls -A ~/.new; stat -c %U ~/.cache ~/.new")
    assert podman_project.doit(f"exec:{name}", "--", *show).out.split() == ["image", "image", "ada", "ada"]
    write = f"set -- ~/.state; {REPLACE}; echo new >~/.cache/note; touch ~/.new/file"
    assert podman_project.doit(f"exec:{name}", "--", "sh", "-ec", write).code == 0
    for _ in range(2):
        new = podman_project.doit(f"start:{name}", "--new", "--cmd", " ".join(show[2:]))
        assert new.out.split()[-5:] == ["new", "new", "file", "ada", "ada"], new.out
    assert len(podman_project.volumes(name)) == 4
    assert podman_project.doit("clean", f"base:{name}").code == 0
    assert len(podman_project.volumes(name)) == 4
    for options in ([], ["--workspace"]):
        destroyed = podman_project.doit(f"destroy:{name}", "--yes", *options)
        assert destroyed.code == 0, destroyed.out
    assert (podman_project.volumes(name), podman_project.containers(name)) == ([], [])


@pytest.mark.guarantee("podman-stores-no-secret")
def test_podman_secret_is_delivered_to_phase_and_start_and_stored_nowhere(podman_project: PodmanProject) -> None:
    config = """
secrets:
  - {name: T, env: HABTEST_CANARY, phases: [setup], start: true, variable: T}
setup:
  user: ['test "$(cat /run/secrets/T)" = "$T" && echo read >~/read && cat /run/secrets/T']
"""
    name = podman_project.habitat(config)
    built = podman_project.doit(f"final:{name}", HABTEST_CANARY=CANARY)
    assert built.code == 0, built.out
    script = 'stat -c "%a %U" /run/secrets/T; cat /run/secrets/T; case $T in "$(cat /run/secrets/T)") echo same ;; esac'
    started = podman_project.doit(f"start:{name}", "--cmd", script, HABTEST_CANARY=CANARY)
    assert started.code == 0, started.out
    assert started.out.splitlines()[-2:] == ["400 ada", f"{CANARY}same"], started.out
    without = podman_project.doit(f"repos:{name}")
    assert (without.code, without.ran) == (0, [])
    assert CANARY not in built.out
    archives = [podman_project.podman.docker("image", "inspect", name) for name in podman_project.images(name).values()]
    archives += [podman_project.podman.docker("container", "inspect", name) for name in podman_project.containers(name)]
    assert not any(CANARY in text for text in archives)
    held = [*_files(podman_project.podman.data), *_files(podman_project.project.root / ".stamps")]
    assert len(held) > 50
    assert [path for path in held if CANARY.encode() in path.read_bytes()] == []


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]


def test_podman_status_shows_phases_container_and_size(podman_project: PodmanProject) -> None:
    name = podman_project.built()
    assert podman_project.doit(f"start:{name}", "--detach").code == 0
    status = json.loads(podman_project.doit("status", "--json", name).out)
    (habitat,) = status["habitats"]
    assert {phase["state"] for phase in habitat["phases"]} == {"cached"}
    assert habitat["container"]["running"]
    assert podman_project.doit(f"stop:{name}").code == 0
    assert "stopped" in podman_project.doit("status", name)


def test_podman_habitats_share_equal_phases(podman_project: PodmanProject) -> None:
    one = podman_project.built("setup: {root: [echo same >/made]}")
    two = podman_project.habitat("setup: {root: [echo same >/made]}")
    result = podman_project.doit(f"final:{two}")
    assert result.code == 0, result.out
    assert f"shared with {one}" in result
    assert podman_project.images(one)["7-setup"] == podman_project.images(two)["7-setup"]
    assert podman_project.doit("clean", f"base:{one}").code == 0
    assert podman_project.images(one) == {}
    again = podman_project.doit(f"final:{two}")
    assert (again.code, again.ran) == (0, [])


def test_podman_ctrl_c_leaves_no_build_container(podman_project: PodmanProject) -> None:
    name = podman_project.habitat("setup: {root: [echo begun; sleep 60]}")
    log = podman_project.project.root / f".stamps/{name}/7-setup.log"
    with RunningDoit(podman_project.project, f"final:{name}", env=podman_project.podman.env) as running:
        wait_until(lambda: log.exists() and "\nbegun\n" in log.read_text())
        assert podman_project.containers(name) != []
        running.process.send_signal(signal.SIGINT)
        assert running.end(10).code == 130, running.out
    assert podman_project.containers(name) == []
    podman_project.habitat("setup: {root: [true]}", name)
    assert podman_project.doit(f"setup:{name}").ran == ["setup"]


def test_podman_dockerfile_builds_without_buildkit_and_refuses_secrets(podman_project: PodmanProject) -> None:
    name = fresh_name()
    podman_project.project.write(
        f"habitats/{name}/Dockerfile", f"FROM {podman_project.base}\nCOPY note /note\nRUN echo built >/made\n"
    )
    podman_project.project.write(f"habitats/{name}/note", "from the context\n")
    podman_project.project.habitat(name, f"{BARE}\n")
    result = podman_project.doit(f"start:{name}", "--cmd", "cat /note /made")
    assert result.out.splitlines()[-2:] == ["from the context", "built"], result.out
    podman_project.project.habitat(name, f"{BARE}\nsecrets: [{{name: T, command: echo x, phases: [dockerfile]}}]\n")
    podman_project.project.write(f"habitats/{name}/Dockerfile", f"FROM {podman_project.base}\nRUN exit 3\n")
    refused = podman_project.doit(f"dockerfile:{name}")
    assert refused.code == 1
    assert "Podman's API gives no secrets to a Dockerfile" in refused.out.splitlines()[-1]


def test_podman_container_has_configured_restrictions(podman_project: PodmanProject) -> None:
    name = podman_project.built("entry: {network: none, limits: {pids: 77, memory: 128m}}")
    show = "cat /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max 2>/dev/null; grep NoNewPrivs /proc/1/status"
    shown = podman_project.doit(f"exec:{name}", "--", "sh", "-c", f"{show}; ls /sys/class/net")
    assert shown.out.split() == ["77", "NoNewPrivs:", "1", "lo"]


def test_podman_clean_removes_images_and_destroy_removes_container(
    podman: PodmanEngine, project: Project, busybox: str
) -> None:
    podman_project = PodmanProject(podman, project, busybox)
    name = podman_project.built("setup: {root: [echo a >/a]}")
    assert podman_project.doit(f"start:{name}", "--cmd", "true").code == 0
    podman_project.habitat("setup: {root: [echo b >/a]}", name)
    assert podman_project.doit(f"final:{name}").code == 0, (
        "images of before that a container uses, and their tags, are moved"
    )
    cleaned = podman_project.doit("clean", f"base:{name}")
    assert cleaned.code == 0, cleaned.out
    assert podman_project.images(name) == {}
    assert podman_project.containers(name) == [f"habitat-{name}"], "one that a person started stays"
    assert podman_project.doit(f"destroy:{name}", "--yes").code == 0
    assert podman_project.containers(name) == []
    assert podman_project.doit("clean").code == 0
    rows = podman_project.podman.docker("image", "ls", "--all", "--quiet", "--filter", f"label=habitat.name={name}")
    assert rows == ""


@pytest.fixture(scope="module")
def gate_image(engine: DockerEngine, podman: PodmanEngine, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The image of the gate on Podman. Its service reaches no network, so Docker builds it."""
    tag = f"habitat-gate:{network_image._digest()}"
    network_image.image(Run(tmp_path_factory.mktemp("gate"), lambda: engine), "gate")
    podman.import_image(tag)
    return tag


@pytest.mark.guarantee("allowlist-holds")
def test_podman_root_inside_finds_no_way_around_the_allowlist(podman_project: PodmanProject, gate_image: str) -> None:
    podman_project.podman.import_image(DEBIAN)
    assert gate_image, "it is there under the name by which the program looks for it"
    name = podman_project.project.habitat(
        fresh_name(), f"base_image: {DEBIAN}\nentry: {{network: {{allow: [allowed.test]}}, ports: ['0:3000']}}\n"
    )
    started = podman_project.doit(f"start:{name}", "--detach")
    assert started.code == 0, started.out
    proofs = podman_project.doit(f"network:{name}", "--prove").out.splitlines()
    assert len([line for line in proofs if line.startswith("✓ ")]) == 6
    form = "{{(index .IPAM.Config 0).Gateway}}"
    gateway = podman_project.podman.docker("network", "inspect", "podman", "--format", form)
    attacks = (Path(__file__).parent / "network_attacks.sh").read_text()
    argv = ("docker", "--host", podman_project.podman.host, "exec", "--interactive", "--user", "0", f"habitat-{name}")
    script = (*argv, "bash", "-s", str(PORT), "203.0.113.211", gateway.strip())
    result = subprocess.run(script, input=attacks, capture_output=True, text=True, check=False)
    rows = [line.partition("\t")[::2] for line in result.stdout.splitlines()]
    assert len(rows) >= 70, result.stderr
    assert [row for row in rows if row[1] != "failed"] == []
    LINES.append(f"attacks on the allowlist on Podman: {len(rows)} tried, 0 through")
    assert podman_project.doit(f"destroy:{name}", "--yes").code == 0
    assert podman_project.containers(name) == []
