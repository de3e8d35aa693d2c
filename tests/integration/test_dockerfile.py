"""Habitats that begin with a Dockerfile: phase 0."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import dockerignore_cases
import pytest
from conftest import Project, RunningDoit, clear, docker, fresh_name, inspect, snapshots, untagged, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from phases.core.engine.docker_api.client import DockerEngine

pytestmark = pytest.mark.engine

DOCKERFILE = """\
FROM {base}
RUN echo made by $((40 + 2)) lines of a Dockerfile
COPY motd /etc/motd
COPY modes /modes
CMD ["cat", "/etc/motd"]
"""

#: What `docker build` with the same context gives, too.
MODES = "certificate 440\nkey 600\nown 700\nteam 2775\ntmp 1777\n981173106"

#: A PATH on which there is no docker command, so that the image is built through the engine's API.
NO_COMMAND = {"PATH": "/nowhere"}

NO_BUILDKIT = {"DOCKER_BUILDKIT": "0"}

#: Seconds that nobody else's command sleeps for.
NAP = 100_000 + os.getpid()


class DockerfileHabitat:
    """A habitat with a Dockerfile and no base_image."""

    def __init__(self, project: Project, name: str, base: str) -> None:
        self.project = project
        self.name = name
        project.habitat(name, "description: begins with a Dockerfile")
        self.write("Dockerfile", DOCKERFILE.format(base=base))
        self.write("motd", "welcome\n")
        self.write("notes.md", "not for the image\n")
        self.write(".dockerignore", "notes.md\n")
        modes = {"key": 0o600, "certificate": 0o440, "tmp/": 0o1777, "team/": 0o2775, "own/": 0o700}
        for path, mode in modes.items():
            self.write(f"modes/{path}{'a' if path.endswith('/') else ''}", "x\n")
            place = project.root / "habitats" / name / "modes" / path
            os.utime(place, (981_173_106, 981_173_106))
            place.chmod(mode)

    def write(self, path: str, text: str) -> None:
        self.project.write(f"habitats/{self.name}/{path}", text)


@pytest.fixture(scope="module")
def built_habitat(
    engine: DockerEngine, busybox: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[DockerfileHabitat]:
    name = fresh_name()
    yield DockerfileHabitat(Project(tmp_path_factory.mktemp("legacy")), name, busybox)
    clear(engine, name)


@pytest.fixture
def habitat(built_habitat: DockerfileHabitat) -> DockerfileHabitat:
    """The habitat, built."""
    result = built_habitat.project.doit(f"final:{built_habitat.name}")
    assert result.code == 0, result.out
    return built_habitat


@pytest.fixture
def unbuilt_habitat(project: Project, busybox: str, name: str) -> DockerfileHabitat:
    """The habitat, not built."""
    return DockerfileHabitat(project, name, busybox)


def test_dockerfile_image_becomes_base_of_habitat(built_habitat: DockerfileHabitat, busybox: str) -> None:
    result = built_habitat.project.doit(f"final:{built_habitat.name}")
    assert result.code == 0, result.out
    assert result.ran[:3] == ["dockerfile", "base", "users"]
    assert "made by 42 lines of a Dockerfile" in result, "its output is shown as it comes"
    tags = snapshots(built_habitat.name)
    first, base = (inspect(f"habitat-{built_habitat.name}:{tag}") for tag in ("0-dockerfile", "1-base"))
    assert base["Config"]["Labels"]["habitat.parent"] == tags["0-dockerfile"]
    assert first["Config"]["Cmd"] == base["Config"]["Cmd"] == ["cat", "/etc/motd"]
    layers = inspect(busybox)["RootFS"]["Layers"]
    assert first["RootFS"]["Layers"][: len(layers)] == layers
    assert docker("run", "--rm", f"habitat-{built_habitat.name}:final", "cat", "/etc/motd") == "welcome"
    assert modes_in(f"habitat-{built_habitat.name}:final") == MODES


def modes_in(image: str) -> str:
    """The modes of a context's files, and the time of one, as an image has them."""
    return docker("run", "--rm", "--user=0", image, "sh", "-c", "cd /modes; stat -c '%n %a' *; stat -c %Y key")


def test_dockerignored_files_are_not_in_habitat(habitat: DockerfileHabitat) -> None:
    actual = docker("run", "--rm", f"habitat-{habitat.name}:final", "sh", "-c", "ls -A $LOCAL_PATH").split()
    assert actual == ["modes", "motd"]


PATTERNS = r"""
config.yaml
Dockerfile*
*ockerignore
**.env
**/*.log
!sub/deep/*.log
src
!src/lib/keep.md
[ab]?
\#c
temp?
node_modules/**/*.js
"""


@pytest.mark.guarantee("dockerignore-as-docker")
def test_dockerfile_context_is_same_as_of_docker_build(project: Project, busybox: str, name: str) -> None:
    """Without BuildKit, docker's client filters by itself: the engine's own BuildKit has an older matcher."""
    project.habitat(name, "dockerfile: Dockerfile.dev\nenv: [USER=root]\n")
    folder = project.root / "habitats" / name
    dockerignore_cases.lay_out(folder, PATTERNS, "FROM nowhere\n")
    project.write(f"habitats/{name}/Dockerfile.dev", f"FROM {busybox}\nCOPY . /all/\n")

    def copied(image: str) -> list[str]:
        return docker("run", "--rm", image, "find", "/all").splitlines()

    def built(*, env: dict[str, str]) -> list[str]:
        result = project.doit(f"dockerfile:{name}", env=env)
        assert (result.code, result.ran) == (0, ["dockerfile"]), result.out
        return copied(f"habitat-{name}:0-dockerfile")

    own = project.run(
        "docker", "build", "-t", f"{name}:own", "-f", f"{folder}/Dockerfile.dev", str(folder), env=NO_BUILDKIT
    )
    assert own.code == 0, own.out
    expected = copied(f"{name}:own")
    docker("image", "rm", f"{name}:own")
    assert {"/all/src/lib/keep.md", "/all/sub/deep/x.log", "/all/temp"} < {*expected}
    assert not [path for path in expected if "ocker" in path or path.endswith((".env", "main.py"))]
    assert built(env={}) == expected
    (folder / ".dockerignore").rename(folder / "Dockerfile.dev.dockerignore")
    project.write(f"habitats/{name}/.dockerignore", "sub\n")
    project.write(f"habitats/{name}/e2/e3/f", "a change, so that the image is built again\n")
    assert built(env=NO_COMMAND) == expected


def change_of_an_ignored_file(habitat: DockerfileHabitat) -> None:
    habitat.write("notes.md", "other notes\n")


def new_description(habitat: DockerfileHabitat) -> None:
    habitat.project.habitat(habitat.name, "description: begins with a Dockerfile still")


@pytest.mark.parametrize("change", [change_of_an_ignored_file, new_description], ids=lambda change: change.__name__)
def test_change_outside_build_context_builds_nothing(
    habitat: DockerfileHabitat, change: Callable[[DockerfileHabitat], None]
) -> None:
    before = snapshots(habitat.name)
    change(habitat)
    result = habitat.project.doit(f"final:{habitat.name}")
    assert result.code == 0, result.out
    assert result.ran == []
    assert snapshots(habitat.name) == before


def test_build_context_change_rebuilds_dockerfile(habitat: DockerfileHabitat) -> None:
    before = snapshots(habitat.name)
    habitat.write("motd", "Welcome\n")
    result = habitat.project.doit(f"base:{habitat.name}")
    assert result.code == 0, result.out
    assert result.ran == ["dockerfile", "base"]
    after = snapshots(habitat.name)
    assert set(after) == {"0-dockerfile", "1-base"}
    assert after["0-dockerfile"] != before["0-dockerfile"]
    assert untagged(habitat.name) == []
    assert docker("run", "--rm", f"habitat-{habitat.name}:1-base") == "Welcome"


@pytest.mark.parametrize("env", [{}, NO_COMMAND], ids=["command", "api"])
def test_dockerfile_failure_error_names_dockerfile(
    unbuilt_habitat: DockerfileHabitat, busybox: str, env: dict[str, str]
) -> None:
    unbuilt_habitat.write("Dockerfile", f"FROM {busybox}\nRUN echo about to fail && exit 7\n")
    result = unbuilt_habitat.project.doit(f"final:{unbuilt_habitat.name}", env=env)
    assert result.code not in (0, 3)
    assert "about to fail" in result
    assert "Traceback" not in result
    last = result.out.strip().splitlines()[-1]
    assert last.startswith(f"❌ dockerfile:{unbuilt_habitat.name}: habitats/{unbuilt_habitat.name}/Dockerfile: ")
    assert f".stamps/{unbuilt_habitat.name}/0-dockerfile.log" in last
    log = (unbuilt_habitat.project.root / ".stamps" / unbuilt_habitat.name / "0-dockerfile.log").read_text()
    assert "about to fail" in log
    assert snapshots(unbuilt_habitat.name) == {}
    left = docker("container", "ls", "--all", "--quiet", "--filter", f"ancestor={busybox}").split()
    for container in left:
        docker("container", "rm", container)
    assert left == [], "what the engine built in is gone"


@pytest.mark.parametrize("env", [{}, NO_COMMAND], ids=["command", "api"])
def test_dockerfile_syntax_error_names_dockerfile(unbuilt_habitat: DockerfileHabitat, env: dict[str, str]) -> None:
    unbuilt_habitat.write("Dockerfile", "FORM busybox\n")
    result = unbuilt_habitat.project.doit(f"final:{unbuilt_habitat.name}", env=env)
    assert result.code not in (0, 3)
    assert "Traceback" not in result
    assert (
        result.out.strip()
        .splitlines()[-1]
        .startswith(f"❌ dockerfile:{unbuilt_habitat.name}: habitats/{unbuilt_habitat.name}/Dockerfile: ")
    )
    assert "FORM" in result


@pytest.mark.guarantee("dockerfile-build-ends-with-run")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("way", [{}, NO_COMMAND], ids=["the docker command", "the API"])
def test_dockerfile_build_ends_when_its_run_ends(
    project: Project, busybox: str, name: str, way: dict[str, str], number: signal.Signals
) -> None:
    project.habitat(name, "env: [USER=root]\n")
    project.write(f"habitats/{name}/Dockerfile", f"FROM {busybox}\nRUN echo begun by {name}; exec sleep {NAP}\n")
    with RunningDoit(project, f"dockerfile:{name}", env=way) as running:
        running.wait_for(f"begun by {name}\n")
        wait_until(sleepers)
        running.process.send_signal(number)
        assert running.end().code in (-number, 128 + number)
        wait_until(lambda: not sleepers())
    assert project.doit("clean", f"dockerfile:{name}").code == 0
    assert untagged(name) == []


def sleepers() -> list[bytes]:
    """Of this machine, which sees those of containers."""
    actual = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            actual.append((process / "cmdline").read_bytes())
    return [argv for argv in actual if argv.endswith(f"sleep\0{NAP}\0".encode())]


@pytest.mark.guarantee("dockerfile-image-moved")
def test_dockerfile_image_retagged_builds_again(
    unbuilt_habitat: DockerfileHabitat, busybox: str, engine: DockerEngine
) -> None:
    name, project = unbuilt_habitat.name, unbuilt_habitat.project
    base, tool = f"{name}:base", f"{name}:tool"
    unbuilt_habitat.write(
        "Dockerfile.rest",
        f"""\
        ARG TAG=base
        FROM {name}:$TAG AS first
        FROM first
        RUN --mount=from={tool},target=/tool ls /tool
        """,
    )
    project.habitat(name, "dockerfile: Dockerfile.rest\nenv: [USER=root]\n")

    def tag(image: str, number: int) -> None:
        container = docker("create", busybox, "true")
        docker("commit", "--change", f"LABEL number={number}", container, image)
        docker("rm", container)

    try:
        for image in (base, tool):
            tag(image, 1)
        assert project.doit(f"base:{name}").ran == ["dockerfile", "base"]
        old = docker("image", "inspect", "--format", "{{.Id}}", tool)
        tag(tool, 2)
        assert f"image {tool} of the Dockerfile: moved from " in project.doit("plan", name)
        assert project.doit(f"base:{name}").ran == ["dockerfile", "base"]
        assert project.doit(f"base:{name}").ran == []
    finally:
        for image in (base, tool):
            engine.untag(image)
    docker("image", "rm", old)


def test_dockerfile_is_built_without_docker_command(unbuilt_habitat: DockerfileHabitat) -> None:
    result = unbuilt_habitat.project.doit(f"base:{unbuilt_habitat.name}", env=NO_COMMAND)
    assert result.code == 0, result.out
    assert result.ran == ["dockerfile", "base"]
    assert "made by 42 lines of a Dockerfile" in result
    assert docker("run", "--rm", f"habitat-{unbuilt_habitat.name}:1-base") == "welcome"
    assert modes_in(f"habitat-{unbuilt_habitat.name}:1-base") == MODES
    assert "0-dockerfile" in snapshots(unbuilt_habitat.name)
    assert untagged(unbuilt_habitat.name) == []


def test_dockerfile_without_config_makes_habitat(unbuilt_habitat: DockerfileHabitat) -> None:
    (unbuilt_habitat.project.root / "habitats" / unbuilt_habitat.name / "config.yaml").unlink()
    odd = 'HEALTHCHECK --interval=1s CMD sleep 300\nSTOPSIGNAL SIGQUIT\nVOLUME /data\nUSER nobody\nENTRYPOINT ["false"]'
    dockerfile = unbuilt_habitat.project.root / "habitats" / unbuilt_habitat.name / "Dockerfile"
    dockerfile.write_text(f"{dockerfile.read_text()}\n{odd}\n")
    started = unbuilt_habitat.project.doit(f"start:{unbuilt_habitat.name}", "--detach")
    assert started.code == 0, started.out
    time.sleep(1.5)  # by then a health check would run
    began = time.monotonic()
    stopped = unbuilt_habitat.project.doit(f"stop:{unbuilt_habitat.name}")
    assert stopped.code == 0, f"a health check is nobody in the habitat: {stopped.out}"
    assert time.monotonic() - began < 8, "the engine kills it after 10 s"
    unbuilt_habitat.write("Dockerfile", "FROM " + dockerfile.read_text().split()[1] + "\nVOLUME /workspace\n")
    refused = unbuilt_habitat.project.doit(f"final:{unbuilt_habitat.name}")
    assert refused.code > 0, refused.out
    assert f"WORKDIR: /workspace is in /workspace, a VOLUME of habitats/{unbuilt_habitat.name}/Dockerfile: " in refused


def test_dockerfile_removed_habitat_starts_from_base_image(unbuilt_habitat: DockerfileHabitat, busybox: str) -> None:
    assert unbuilt_habitat.project.doit(f"base:{unbuilt_habitat.name}").code == 0
    (unbuilt_habitat.project.root / "habitats" / unbuilt_habitat.name / "Dockerfile").unlink()
    unbuilt_habitat.project.habitat(unbuilt_habitat.name, f"base_image: {busybox}")
    result = unbuilt_habitat.project.doit(f"base:{unbuilt_habitat.name}")
    assert result.code == 0, result.out
    assert result.ran == ["base"]
    base = inspect(f"habitat-{unbuilt_habitat.name}:1-base")
    assert base["Config"]["Labels"]["habitat.parent"] == inspect(busybox)["Id"]
    assert "dockerfile.hash" not in base["Config"]["Labels"]
    assert unbuilt_habitat.project.doit("clean").code == 0
    assert snapshots(unbuilt_habitat.name) == {}
