"""Which `docker` builds a Dockerfile."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING

import pytest
from conftest import ROOT, wait_until
from unit_helpers import write

from phases.core.engine.docker_api import buildkit_cli
from phases.core.engine.docker_api.buildkit_cli import DockerCommand
from phases.core.engine.docker_api.client import DockerEngine
from phases.core.engine.http import HttpClient
from phases.core.engine.transport import Route
from phases.core.errors import EngineError
from phases.core.files.tar import DockerfileArchive

if TYPE_CHECKING:
    from pathlib import Path

SCRIPT = """\
#!/bin/sh
case $1 in
buildx) {buildx} ;;
version) echo '{version}' ;;
build)
    for word; do case $word in *iidfile*) exit 64 ;; esac; done
    echo "DOCKER_BUILDKIT=$DOCKER_BUILDKIT"
    echo "on stderr" >&2
    {build}
    ;;
esac
"""


def docker(folder: Path, version: str = "", *, buildx: bool = False, build: str = "") -> str:
    answer = f'{{"Version":"{version}"}}' if version else ""
    text = SCRIPT.format(buildx="echo v0.12.1" if buildx else "exit 1", version=answer, build=build)
    return str(write(folder, "docker", text, 0o755))


def on_path(monkeypatch: pytest.MonkeyPatch, *folders: Path) -> None:
    """These folders, and where the shell of the scripts is."""
    for folder in folders:
        folder.mkdir(exist_ok=True)
    monkeypatch.setenv("PATH", ":".join(map(str, folders)))


@pytest.mark.parametrize(
    ("version", "buildx", "buildkit"),
    [
        ("20.10.24+dfsg1", False, True),
        ("18.09.1", False, True),
        ("17.12.1-ce", False, False),
        ("23.0.0", False, False),
        ("28.2.2", False, False),
        ("28.2.2", True, True),
        ("", True, True),
        ("", False, False),
        ("dev", False, False),
    ],
)
def test_docker_command_with_supporting_version_uses_buildkit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, buildx: bool, buildkit: bool
) -> None:
    program = docker(tmp_path / "bin", version, buildx=buildx)
    on_path(monkeypatch, tmp_path / "bin")
    assert buildkit_cli.find() == DockerCommand(program, buildkit=buildkit)


def test_docker_command_absent_from_path_returns_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on_path(monkeypatch, tmp_path / "empty")
    assert buildkit_cli.find() is None


def test_docker_command_with_buildkit_is_preferred_to_earlier_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    docker(tmp_path / "first", "28.2.2")
    able = docker(tmp_path / "second", "20.10.24")
    on_path(monkeypatch, tmp_path / "first", tmp_path / "second")
    assert buildkit_cli.find() == DockerCommand(able, buildkit=True)


def test_docker_command_none_with_buildkit_first_on_path_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = docker(tmp_path / "first", "28.2.2")
    docker(tmp_path / "second", "24.0.0")
    on_path(monkeypatch, tmp_path / "first", tmp_path / "second")
    assert buildkit_cli.find() == DockerCommand(first, buildkit=False)


def test_docker_command_that_cannot_run_is_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A broken link, a script of another machine: the next one is asked."""
    write(tmp_path / "broken", "docker", "#!/nowhere/sh\n", 0o755)
    able = docker(tmp_path / "able", "28.2.2", buildx=True)
    on_path(monkeypatch, tmp_path / "broken", tmp_path / "able")
    assert buildkit_cli.find() == DockerCommand(able, buildkit=True)


@pytest.mark.guarantee("no-temporary-files-of-killed-run")
@pytest.mark.parametrize("buildkit", [True, False])
def test_docker_build_passes_output_and_leaves_no_temporary_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, buildkit: bool
) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    program = docker(tmp_path)
    lines: list[str] = []

    def left() -> list[str]:
        return [str(path) for path in temporary.iterdir()]

    context = write(tmp_path, "context.tar")
    with context.open("rb") as tar:
        buildkit_cli.build(
            DockerCommand(program, buildkit=buildkit),
            DockerfileArchive(tar),
            "made:1",
            lambda line: lines.extend([line, *left()]),
        )
    assert lines == [f"DOCKER_BUILDKIT={int(buildkit)}", "on stderr"]


def test_docker_build_failure_raises_engine_error(tmp_path: Path) -> None:
    program = docker(tmp_path, build="exit 7")
    context = write(tmp_path, "context.tar")
    with context.open("rb") as tar, pytest.raises(EngineError, match="docker build ended with exit code 7"):
        buildkit_cli.build(DockerCommand(program, buildkit=True), DockerfileArchive(tar), "made:1", lambda _: None)


BUILD_AND_WAIT = """
import sys
from pathlib import Path
from phases.core.engine.docker_api.buildkit_cli import DockerCommand, build
from phases.core.files.tar import DockerfileArchive
with Path(sys.argv[2]).open("rb") as tar:
    build(DockerCommand(sys.argv[1], buildkit=True), DockerfileArchive(tar), "made:1", print)
"""


@pytest.mark.guarantee("dockerfile-build-ends-with-run")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
@pytest.mark.parametrize(
    "build",
    ["exec sleep 60", "trap '' TERM; exec sleep 60", "sleep 60 & echo $! >pid.new; mv pid.new pid; wait"],
    ids=["at once", "unwillingly", "with what it has started"],
)
def test_docker_build_ends_when_its_run_is_killed(tmp_path: Path, build: str, number: signal.Signals) -> None:
    """As a client that waits for its engine to have ended the build, and one that has a plugin do the work."""
    if "pid" not in build:
        build = f"echo $$ >pid.new; mv pid.new pid; {build}"
    program = docker(tmp_path, build=f"cat; {build}")
    write(tmp_path, "context.tar", "all of it\n")
    with subprocess.Popen(
        [sys.executable, "-c", BUILD_AND_WAIT, program, "context.tar"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        text=True,
    ) as run:
        assert run.stdout
        try:
            wait_until((tmp_path / "pid").exists, seconds=10)
            assert any("all of it" in line for line in run.stdout)
        finally:
            run.send_signal(number)
        run.wait(10)
    builder = int((tmp_path / "pid").read_text())
    wait_until(lambda: not is_running(builder), seconds=10)


def is_running(process: int) -> bool:
    """Whether it is there, and not only waits to be reaped."""
    result = subprocess.run(["ps", "-o", "stat=", "-p", str(process)], capture_output=True, text=True, check=False)
    return result.stdout.strip()[:1] not in ("", "Z")


def test_docker_build_without_image_raises_error_and_ignores_old_tag(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that lost its engine may call that a success; what has the tag from before is not the image."""
    program = str(write(tmp_path, "bin/docker", "#!/bin/sh\n", 0o755))
    monkeypatch.setattr(buildkit_cli, "find", lambda: DockerCommand(program, buildkit=True))
    asked: list[tuple[str, str]] = []
    monkeypatch.setattr(DockerEngine, "untag", lambda _, tag: asked.append(("untag", tag)))
    monkeypatch.setattr(DockerEngine, "image_config", lambda _, tag: asked.append(("look", tag)))
    engine = DockerEngine(HttpClient(Route("a test", "/nowhere")))
    with write(tmp_path, "context.tar").open("rb") as tar, pytest.raises(EngineError, match="docker build gave no"):
        engine.build(DockerfileArchive(tar), "made:1", lambda _: None)
    assert asked == [("untag", "made:1"), ("look", "made:1")]
