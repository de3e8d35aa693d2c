"""Each folder of tests/cases: a habitat, and a `verify` script that runs inside what was built of it.

    config.yaml …   the habitat's folder, `name:` left out
    shared/         the shared layer
    prepare         made ready on the host before the build: run in the project's root, with the
                    habitat's folder as $1
    verify          run in the final image as the image's user
    verify-root     the same as root
    check.sh        beside the cases: what the verify scripts say with

A base image is named with the tag SESSION, which becomes the one that this session has made.
A case with an entry.command is also started, and its command must succeed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from conftest import BUSYBOX, DEBIAN, PREFIX, docker, put_programs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Project

    from phases.core.engine.docker_api.client import DockerEngine

pytestmark = pytest.mark.engine

CASES = Path(__file__).resolve().parent.parent / "cases"

GIT = f"{PREFIX}-git:{os.getpid()}"

#: What of a case's folder is not the habitat's.
_OURS = ("shared", "prepare", "verify", "verify-root")


@pytest.fixture(scope="session")
def debian_git(engine: DockerEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Debian with this machine's git, which reads the repositories of whoever made them.

    To install Debian's own would take longer than all cases. The libraries of ours are in a folder of its own.
    """
    root = tmp_path_factory.mktemp("debian")
    own = root / "opt/git"
    put_programs(own, "git")
    (loader,) = own.rglob("ld-linux*")
    folders = {f"/{path.parent.relative_to(root)}" for path in own.rglob("*.so*")}
    start = f"exec /{loader.relative_to(root)} --library-path {':'.join(folders)} /opt/git/usr/bin/git"
    for name, arguments in {"git": "", "git-upload-pack": "upload-pack "}.items():
        script = root / "usr/bin" / name
        script.parent.mkdir(parents=True, exist_ok=True)
        script.write_text(f'#!/bin/sh\n{start} {arguments}"$@"\n')
        script.chmod(0o755)
    (root / "usr/share/git-core/templates").mkdir(parents=True)
    (root / "etc").mkdir()
    (root / "etc/gitconfig").write_text("[safe]\n\tdirectory = *\n")
    for folder in (root, *(path for path in root.rglob("*") if path.is_dir())):
        folder.chmod(0o755)
    container = docker("create", DEBIAN)
    try:
        docker("cp", f"{root}/.", f"{container}:/")
        docker("commit", "--change", 'CMD ["/bin/sh"]', container, GIT)
    finally:
        engine.remove(container)
    yield GIT
    engine.untag(GIT)


def _lay_out(case: Path, project: Project, name: str) -> None:
    """Make the case a habitat of the project."""
    habitat = project.root / "habitats" / name
    shutil.copytree(case, habitat, ignore=lambda folder, names: _OURS if folder == str(case) else ())
    for file in (habitat / "config.yaml", habitat / "Dockerfile"):
        if file.exists():
            text = file.read_text()
            for image in (BUSYBOX, GIT):
                text = text.replace(f"{image.partition(':')[0]}:SESSION", image)
            file.write_text(text)
    if (case / "shared").is_dir():
        shutil.copytree(case / "shared", project.root / "shared", dirs_exist_ok=True)
    if (case / "prepare").exists():
        identity = {f"GIT_{who}_{what}": "t@t" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        prepared = project.run(
            str(case / "prepare"), str(habitat), env={**identity, "GIT_CONFIG_GLOBAL": os.devnull, "LC_ALL": "C.UTF-8"}
        )
        assert prepared.code == 0, prepared.out


def _verify(script: Path, image: str, *options: str) -> None:
    result = subprocess.run(
        ["docker", "run", "--rm", *options, "-v", f"{CASES}:/cases:ro", image, f"/cases/{script.relative_to(CASES)}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    assert not result.stdout, result.stdout
    assert result.returncode == 0


@pytest.mark.parametrize("case", sorted(folder.name for folder in CASES.iterdir() if folder.is_dir()))
def test_case_habitat_passes_its_verify_script(
    case: str, project: Project, name: str, request: pytest.FixtureRequest
) -> None:
    folder = CASES / case
    declared = "".join(path.read_text() for path in folder.iterdir() if path.name in ("config.yaml", "Dockerfile"))
    for fixture, image in (("busybox", BUSYBOX), ("debian_git", GIT)):
        if f"{image.partition(':')[0]}:SESSION" in declared:
            request.getfixturevalue(fixture)
    _lay_out(folder, project, name)
    built = project.doit(f"final:{name}")
    assert built.code == 0, built.out
    _verify(folder / "verify", f"habitat-{name}:final")
    if (folder / "verify-root").exists():
        _verify(folder / "verify-root", f"habitat-{name}:final", "--user", "root")
    if "\n  command:" in declared:
        started = project.doit(f"start:{name}")
        assert started.code == 0, started.out
