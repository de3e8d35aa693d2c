"""`doit new`: what it makes is built at the first try, whatever else is broken."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from conftest import PREFIX, Project, docker

from phases.core.config.names import HABITAT_NAME_RULE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from phases.core.engine.docker_api.client import DockerEngine

NOWHERE = {"DOCKER_HOST": "unix:///nowhere/docker.sock"}

# In an image that is as Alpine's is: a package manager and no git yet.
APK = """#!/bin/sh
test "$*" = "add --no-cache ca-certificates git" && mv /opt/git /usr/bin/git
"""


@pytest.fixture(scope="module")
def alpine_like_image(engine: DockerEngine, git_image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An image without git, with an `apk` that brings it, and with a repository."""
    root = tmp_path_factory.mktemp("apk")
    (root / "apk").write_text(APK)
    (root / "apk").chmod(0o755)
    subprocess.run(["git", "init", "-q", "-b", "main", root / "project"], check=True)
    (root / "project" / "README.md").write_text("Read me.\n")
    identity = ("-c", "user.name=tests", "-c", "user.email=tests@example.org")
    for command in (("add", "README.md"), (*identity, "commit", "-qm", "first")):
        subprocess.run(["git", "-C", root / "project", *command], check=True)
    reference = f"{PREFIX}-apk-{uuid.uuid4().hex[:8]}:1"
    container = docker("container", "create", git_image, "sh", "-c", "mkdir -p /opt && mv /usr/bin/git /opt/git")
    docker("container", "cp", f"{root}/apk", f"{container}:/bin/apk")
    docker("container", "cp", f"{root}/project", f"{container}:/project")
    docker("container", "start", "--attach", container)
    docker("container", "commit", container, reference)
    docker("container", "rm", container)
    yield reference
    engine.untag(reference)


@pytest.mark.engine
def test_new_habitat_with_repository_builds_at_first_try(project: Project, name: str, alpine_like_image: str) -> None:
    outcome = project.doit("new", name, "--repo", "file:///project", "--base", alpine_like_image)
    assert (outcome.code, outcome.out.splitlines()) == (
        0,
        [
            f"created habitats/{name}/config.yaml: edit it, its comments explain each section",
            f"then `doit start:{name}` builds and starts it",
        ],
    )
    result = project.doit(f"start:{name}", "--cmd", "cat project/README.md; git -C project status --short --branch")
    assert result.code == 0, result.out
    assert result.out.splitlines()[-2:] == ["Read me.", "## main...origin/main"]


def test_new_habitat_needs_no_engine_and_ignores_broken_habitats(project: Project) -> None:
    project.habitat("broken", "env: [")
    (project.root / "habitats" / "A = b%").mkdir()
    result = project.doit("new", "fresh", env=NOWHERE)
    assert result.code == 0, result.out
    assert re.search(
        r"^start:fresh +A habitat on debian:bookworm-slim$", project.doit("list", env=NOWHERE).out, re.MULTILINE
    )


def test_new_habitat_options_work_before_and_after_name(
    project: Project,
) -> None:
    url = "https://example.org/a.git?x=y"
    before = project.doit("new", f"--repo={url}", "--repo", "git://example.org/b", "one")
    behind = project.doit("new", "two", "--repo", url, "--repo=git://example.org/b")
    assert (before.code, behind.code) == (0, 0), before.out + behind.out
    one, two = ((project.root / "habitats" / name / "config.yaml").read_text() for name in ("one", "two"))
    assert one == two
    assert one.count("  - url: ") == 2
    assert f"  - url: {url}\n" in one


FILE_URL = "write a URL; file:///… is a path in the habitat, for example in a volume"
USAGE = "`doit new NAME [--base IMAGE] [--extends A,B] [--repo URL]…`"


@pytest.mark.parametrize(
    ("args", "line"),
    [
        ((), f"new needs a name: {USAGE}"),
        (("a", "b"), f"new takes one name: {USAGE}"),
        (("a", "--bse", "x"), "option --bse not recognized: did you mean --base? `doit help new` lists the options"),
        (("a", "--repo"), "option --repo requires argument: `doit help new` lists the options"),
        (
            ("A",),
            f"'A' can't name a habitat: use {HABITAT_NAME_RULE}",
        ),
        (
            ("",),
            f"'' can't name a habitat: use {HABITAT_NAME_RULE}",
        ),
        (("a", "--base", "x y"), "--base: 'x y' is not the name of an image: write it like debian:bookworm-slim"),
        (
            ("a", "--repo", "https://me:secret@example.org/a"),
            "--repo: there is a password in the url: name a secret with token: instead",
        ),
        (
            ("a", "--repo", "../a"),
            "--repo: '../a' is a path of this machine, and a habitat can't read it: " + FILE_URL,
        ),
        (
            ("there",),
            "habitats/there: already exists: edit it, or choose another name; `doit start:there` builds and starts it",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_new_habitat_invalid_arguments_are_one_line_error(project: Project, args: tuple[str, ...], line: str) -> None:
    project.habitat("there", "base_image: debian")
    result = project.doit("new", *args)
    assert (result.code, result.out.rstrip("\n")) == (3, f"ERROR: {line}")
    assert [path.name for path in (project.root / "habitats").iterdir()] == ["there"]


@pytest.mark.guarantee("new-habitat-is-whole-or-absent")
def test_new_habitat_by_parallel_runs_is_created_once(project: Project) -> None:
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda base: project.doit("new", "x", f"--base=base:{base}"), range(4)))
    (winner,) = (index for index, result in enumerate(results) if result.code == 0)
    assert all("already exists" in result for index, result in enumerate(results) if index != winner)
    config: Path = project.root / "habitats" / "x" / "config.yaml"
    assert f"base_image: base:{winner}\n" in config.read_text()
    assert [path.name for path in (project.root / "habitats").iterdir()] == ["x"]


def test_new_habitat_with_lost_output_is_error_and_still_created(project: Project) -> None:
    result = project.run("sh", "-c", f"{shlex.quote(sys.executable)} -m doit new x >/dev/full")
    assert (result.code, result.out) == (1, "ERROR: the output can't be written: No space left on device\n")
    assert (project.root / "habitats" / "x" / "config.yaml").is_file()
