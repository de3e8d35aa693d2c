"""Shared by all tests: projects in temporary folders, and a guard before the real engine."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from phases.core import docker_engine

if TYPE_CHECKING:
    from collections.abc import Iterator

    from phases.core.docker_engine import DockerEngine

ROOT = Path(__file__).resolve().parent.parent

#: All that tests make on an engine carries this, and only what carries it is removed.
PREFIX = "habtest"

DEBIAN = "debian:bookworm-slim"
BUSYBOX = f"{PREFIX}-busybox:1"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Fast ones first."""
    items.sort(key=lambda item: item.get_closest_marker("engine") is not None)


@pytest.fixture(autouse=True)
def _no_engine_by_accident(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if not request.node.get_closest_marker("engine"):

        def refuse() -> None:
            raise AssertionError("a test that is not marked `engine` asked for the real one")

        monkeypatch.setattr(docker_engine, "connect", refuse)
        monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")


@dataclass
class Ended:
    """A command that ended. out: stdout and stderr together, as a person sees them."""

    code: int
    out: str

    def __contains__(self, text: str) -> bool:
        return text in self.out

    @property
    def ran(self) -> list[str]:
        """The phases that ran, in order."""
        return [line.split()[2] for line in self.out.splitlines() if line.startswith("[") and "✅" in line]


class Project:
    """A project in a folder of its own, with the program of this checkout."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name in ("dodo.py", "pyproject.toml"):
            shutil.copy(ROOT / name, root / name)
        for name in ("habitats", "shared", ".stamps"):
            (root / name).mkdir(exist_ok=True)

    def write(self, path: str, text: str = "", mode: int = 0o644) -> Path:
        """A file of the project; an indented text is dedented."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text))
        file.chmod(mode)
        return file

    def habitat(self, name: str, config: str) -> str:
        """habitats/NAME/config.yaml. Returns the name."""
        self.write(f"habitats/{name}/config.yaml", config)
        return name

    def run(self, *argv: str, env: dict[str, str] | None = None, timeout: float = 300) -> Ended:
        done = subprocess.run(
            argv,
            cwd=self.root,
            env={**os.environ, "COLUMNS": "200", **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
            check=False,
        )
        return Ended(done.returncode, done.stdout)

    def doit(self, *args: str, env: dict[str, str] | None = None, timeout: float = 300) -> Ended:
        """`doit ARGS`, as a person runs it, without a terminal."""
        return self.run(sys.executable, "-m", "doit", *args, env=env, timeout=timeout)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


# The real engine


@pytest.fixture(scope="session")
def engine() -> DockerEngine:
    """The engine of this machine: script/bootstrap brought one."""
    return docker_engine.connect()


@pytest.fixture(scope="session")
def busybox(engine: DockerEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A tiny image with busybox and nothing else: Alpine's tools in two megabytes."""
    root = tmp_path_factory.mktemp("busybox")
    for folder in ("bin", "etc", "tmp", "root"):
        (root / folder).mkdir()
    (root / "tmp").chmod(0o1777)
    shutil.copy("/bin/busybox", root / "bin" / "busybox")
    applets = subprocess.run(["/bin/busybox", "--list"], capture_output=True, text=True, check=True).stdout.split()
    for applet in applets:
        if applet != "busybox":
            (root / "bin" / applet).symlink_to("busybox")
    (root / "etc" / "passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    (root / "etc" / "group").write_text("root:x:0:\n")
    import_image(root, BUSYBOX)
    yield BUSYBOX
    engine.untag(BUSYBOX)


def import_image(root: Path, reference: str, *changes: str) -> None:
    """An image from a folder. changes: Dockerfile instructions."""
    flags = [part for change in changes for part in ("--change", change)]
    with subprocess.Popen(["tar", "-C", str(root), "--numeric-owner", "-c", "."], stdout=subprocess.PIPE) as tar:
        subprocess.run(["docker", "import", *flags, "-", reference], stdin=tar.stdout, check=True, capture_output=True)


@pytest.fixture
def name(engine: DockerEngine) -> Iterator[str]:
    """A habitat's name that nobody else has. What was built of it is gone afterwards."""
    name = f"{PREFIX}-{uuid.uuid4().hex[:8]}"
    yield name
    clear(engine, name)


def clear(engine: DockerEngine, name: str) -> None:
    """Remove the containers and images of a test's habitat, and of no other."""
    assert name.startswith(PREFIX)
    for container in engine.containers(label=f"habitat.name={name}"):
        engine.remove(container.id)
    for container in [
        *engine.containers(name_prefix=f"habitat_build_{name}"),
        *engine.containers(name_prefix=f"habitat-{name}"),
    ]:
        engine.remove(container.id)
    for image in engine.images():
        for tag in image.tags:
            if tag.startswith(f"habitat-{name}:"):
                engine.untag(tag)
    for image in engine.images():
        if not image.tags and image.labels.get("habitat.name") == name:
            engine.remove_image(image.id)
