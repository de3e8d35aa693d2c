"""`doit debug`: what is kept of a phase that failed, and a shell in it."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from conftest import DEBIAN, Project, clear, docker, failed, fresh_name, snapshots, untagged
from terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from phases.core.engine.docker_api.client import DockerEngine

pytestmark = pytest.mark.engine

#: Signs that every step from config.yaml to the shell in the container could take for something.
SCRIPT = r"""echo "it's" '$HOME' "$(id -un)" \\ \$ `pwd`
echo half >~/half
cat /run/secrets/T /data/note
[ -e ~/mended ]
echo whole"""
PRINTED = "it's $HOME ada \\ $ /work"

CONFIG = """
    base_image: {base}
    env: [USER=ada, WORKDIR=/work, SYSTEM_PATH=, SHARED_PATH=, HABITAT_PATH=, COLOUR=red]
    volumes: [{{source: data, dest: /data}}]
    secrets: [{{name: T, command: echo s3cret-word, phases: [setup], variable: T}}]
    setup:
      user:
        - |
{script}
    entry: {{network: none}}
"""


class FailingHabitat:
    """A project with a habitat whose setup fails."""

    def __init__(self, project: Project, base: str) -> None:
        self.project = project
        self.base = base
        self.name = fresh_name()
        project.write(f"habitats/{self.name}/data/note", "from the volume\n")
        self.write(SCRIPT)

    def write(self, script: str) -> None:
        lines = "\n".join(f"            {line}" for line in script.splitlines())
        self.project.habitat(self.name, CONFIG.format(base=self.base, script=lines))

    def debug(self, put: bytes) -> tuple[int, str, str]:
        """Exit code and the two outputs of a `doit debug` that is put something in."""
        argv = (sys.executable, "-m", "doit", f"debug:{self.name}")
        result = subprocess.run(argv, cwd=self.project.root, input=put, capture_output=True, timeout=60, check=False)
        return result.returncode, result.stdout.decode(), result.stderr.decode()

    def containers(self) -> list[str]:
        return docker("container", "ls", "--all", "--quiet", "--filter", f"label=habitat.name={self.name}").split()


@pytest.fixture(scope="module")
def failing_habitat(
    engine: DockerEngine, busybox: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[FailingHabitat]:
    failing_habitat = FailingHabitat(Project(tmp_path_factory.mktemp("project")), busybox)
    result = failing_habitat.project.doit(f"setup:{failing_habitat.name}")
    assert result.code == 1, result.out
    assert result.out.splitlines()[-1].endswith(f"; `doit debug:{failing_habitat.name}` opens a shell there")
    yield failing_habitat
    clear(engine, failing_habitat.name)


@pytest.mark.guarantee("failed-phase-kept-for-debug")
def test_debug_again_runs_failed_command_as_build_did(failing_habitat: FailingHabitat) -> None:
    assert list(failed(failing_habitat.name)) == ["7-setup-failed"]
    script = b"id -un; pwd; cat ~/half; echo $COLOUR $T; again; echo code $?; touch ~/mended; cd /; again; exit 5\n"
    code, out, err = failing_habitat.debug(script)
    ran = [PRINTED, "s3cret-wordfrom the volume"]
    assert (code, out.splitlines()) == (
        5,
        ["ada", "/work", "half", "red s3cret-word", *ran, "code 1", *ran, "whole"],
    )
    first, *messages = err.splitlines()
    assert first.startswith("── setup failed at ")
    place = f"habitats/{failing_habitat.name}/config.yaml:"
    assert f": {place}" in first
    assert messages == [
        "setup command 1 of 1 ended with exit code 1",
        *[f"    {'>' if number else '$'} {line}" for number, line in enumerate(SCRIPT.splitlines())],
        f"── the end of its output (.stamps/{failing_habitat.name}/7-setup.log)",
        *[f"    {line.replace('s3cret-word', '***')}" for line in ran],
        "── a shell there, as ada in /work",
        f"    {'again':<{len(failing_habitat.name) + 11}}  runs the failed command again",
        f"    {'exit':<{len(failing_habitat.name) + 11}}  ends the shell and discards all changes",
        f"    doit start:{failing_habitat.name}  continues the build, once the cause is fixed",
    ]
    assert failing_habitat.containers() == []


def test_debug_shell_ended_by_signal_leaves_nothing_for_next_shell(failing_habitat: FailingHabitat) -> None:
    with Terminal(failing_habitat.project, f"debug:{failing_habitat.name}") as terminal:
        terminal.wait_for("/work $ ")
        terminal.type("ls ~/mended; again; echo then $?\r")
        terminal.wait_for("then 1\n")
        assert "mended: No such file" in terminal.shown
        terminal.process.send_signal(signal.SIGTERM)
        assert terminal.end() == 128 + signal.SIGTERM
        assert terminal.now == terminal.before
    assert failing_habitat.containers() == []
    assert list(failed(failing_habitat.name)) == ["7-setup-failed"]


@pytest.mark.guarantee("failed-phase-kept-for-debug")
def test_failed_image_is_no_snapshot_and_is_removed_by_next_success(failing_habitat: FailingHabitat) -> None:
    assert "7-setup" not in snapshots(failing_habitat.name)
    again = failing_habitat.project.doit(f"setup:{failing_habitat.name}")
    assert (again.code, again.ran) == (1, [])
    assert list(failed(failing_habitat.name)) == ["7-setup-failed"]
    failing_habitat.write("echo mended")
    result = failing_habitat.project.doit(f"setup:{failing_habitat.name}")
    assert (result.code, result.ran) == (0, ["setup"]), result.out
    assert failed(failing_habitat.name) == {}
    assert untagged(failing_habitat.name) == []
    expected = (
        f"❌ {failing_habitat.name}: there is no failed phase to debug: `doit start:{failing_habitat.name}` builds it, "
    )
    code, out, err = failing_habitat.debug(b"")
    assert (code, out, err) == (
        1,
        "",
        f"{expected}`doit shell:{failing_habitat.name} --at PHASE` opens a shell in a snapshot\n",
    )


@pytest.mark.guarantee("failed-phase-kept-for-debug")
def test_debug_of_failed_test_opens_bash_if_present(project: Project, name: str) -> None:
    project.habitat(name, f"base_image: {DEBIAN}\nenv: [USER=ada]\ntests: [tests/builds.sh]\n")
    project.write(f"habitats/{name}/tests/builds.sh", '#!/bin/sh\necho "no $0"; exit 4\n', 0o755)
    assert project.doit(f"test:{name}").code == 1
    assert list(failed(name)) == ["11-test-failed"]
    with Terminal(project, f"debug:{name}") as terminal:
        terminal.wait_for(f"{name}-test-failed")  # as its prompt shows
        assert "test tests/builds.sh ended with exit code 4\n" in terminal.shown
        terminal.type("again; echo bash $? ${BASH_VERSION:+so}; exit 0\r")
        assert terminal.end() == 0, terminal.shown
        assert "bash 4 so\n" in terminal.shown
        assert terminal.shown.count("tests/builds.sh\n") == 2
    cleaned = project.doit("clean", f"test:{name}")
    assert cleaned.out == f"{name}: removed 1 image, from test on\n"
    assert failed(name) == {}
