"""Images that only a registry has: brought, for who may have them, and told of in a line where they can't be."""

from __future__ import annotations

import shutil
import signal
import socket
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from conftest import Project, RunningDoit, build_containers, import_image, inspect, snapshots
from registry import Registry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.engine

#: A PATH on which there is no docker command, so that a Dockerfile is built through the engine's API.
NO_COMMAND = {"PATH": "/nowhere"}


@pytest.fixture
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with Registry(tmp_path_factory.mktemp("registry")) as registry:
        yield registry
        registry.clear()


@pytest.fixture
def image(registry: Registry, busybox: str, name: str, tmp_path: Path) -> dict[str, str]:
    """One that nobody but the registry has: what it is called by tag, and by digest."""
    del busybox  # is made of the same
    (tmp_path / "root/bin").mkdir(parents=True)
    shutil.copy("/bin/busybox", tmp_path / "root/bin/sh")
    (tmp_path / "root/whose").write_text(name)
    tag = f"{registry.host}/team/{name}:1"
    import_image(tmp_path / "root", tag)
    return {"tag": tag, "digest": registry.take(tag)}


def log(project: Project, name: str, phase: str) -> list[str]:
    return (project.root / f".stamps/{name}/{phase}.log").read_text().splitlines()


@pytest.mark.guarantee("base-image-is-pulled")
@pytest.mark.parametrize("by", ["tag", "digest"])
def test_base_image_absent_from_engine_is_pulled_once(
    registry: Registry, image: dict[str, str], project: Project, name: str, by: str
) -> None:
    project.habitat(name, f"base_image: {image[by]}\nenv: [USER=root]\nverify-fs: {{required_files: [/whose]}}\n")
    built = project.doit(f"final:{name}", env=registry.login)
    assert built.code == 0, built.out
    assert f"Status: Downloaded newer image for {image[by]}" in log(project, name, "1-base")
    again = project.doit(f"final:{name}")
    assert (again.code, again.ran) == (0, [])
    assert project.doit("forget", f"base:{name}").code == 0
    anew = project.doit(f"base:{name}")
    assert (anew.code, anew.ran) == (0, ["base"]), "who is not logged in builds on what is there"
    assert log(project, name, "1-base") == []


@pytest.mark.guarantee("base-image-is-pulled")
def test_pull_without_login_error_names_docker_login(
    registry: Registry, image: dict[str, str], project: Project, name: str
) -> None:
    project.habitat(name, f"description: x\nbase_image: {image['tag']}\nenv: [USER=root]\n")
    refused = project.doit(f"base:{name}", env={"DOCKER_CONFIG": str(project.root)})
    assert refused.code == 1
    messages = refused.out.splitlines()[-1]
    assert messages.startswith(
        f"❌ base:{name}: habitats/{name}/config.yaml:2: base image {image['tag']} can't be pulled ("
    )
    assert messages.endswith(f"): check its name, or docker login {registry.host}, then run the same command again")
    assert (snapshots(name), build_containers(name)) == ({}, [])
    assert project.doit(f"base:{name}", env=registry.login).ran == ["base"]


@pytest.mark.guarantee("base-image-is-pulled")
@pytest.mark.parametrize("way", [{}, NO_COMMAND], ids=["the docker command", "the API"])
def test_dockerfile_base_is_pulled_with_credentials(
    registry: Registry, image: dict[str, str], project: Project, name: str, way: dict[str, str]
) -> None:
    project.habitat(name, "env: [USER=root]\n")
    project.write(f"habitats/{name}/Dockerfile", f"FROM {image['tag']}\nENV MADE=yes\n")
    refused = project.doit(f"dockerfile:{name}", env={"DOCKER_CONFIG": str(project.root), **way})
    assert refused.code == 1
    assert "docker login to the registry, then run the same command again" in refused.out.splitlines()[-1]
    assert snapshots(name) == {}
    built = project.doit(f"dockerfile:{name}", env={**registry.login, **way})
    assert built.code == 0, built.out
    assert "MADE=yes" in inspect(f"habitat-{name}:0-dockerfile")["Config"]["Env"]


@pytest.mark.guarantee("base-image-is-pulled")
def test_pull_broken_off_is_one_line_error(
    registry: Registry, image: dict[str, str], project: Project, name: str
) -> None:
    registry.lose_layers()
    project.habitat(name, f"base_image: {image['tag']}\n")
    failed = project.doit(f"base:{name}", env=registry.login)
    assert failed.code == 1
    assert "Traceback" not in failed
    assert failed.out.splitlines()[-1].startswith(
        f"❌ base:{name}: habitats/{name}/config.yaml:1: base image {image['tag']} can't be pulled ("
    )
    assert snapshots(name) == {}


@pytest.mark.guarantee("base-image-is-pulled")
def test_pull_from_silent_registry_ends_on_signal(project: Project, name: str) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        host, port = silent.getsockname()
        project.habitat(name, f"base_image: {host}:{port}/team/base:1\n")
        with RunningDoit(project, f"base:{name}") as running:
            running.wait_for("Setting the base image")
            silent.accept()
            running.process.send_signal(signal.SIGINT)
            result = running.end(10)
    assert result.code == 128 + signal.SIGINT
    assert (
        result.out.splitlines()[-1]
        == f"stopped in base:{name}: finished phases are kept, the next run continues from there"
    )
