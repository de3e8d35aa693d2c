"""`doit migrate:NAME` on the real engine: what it writes builds what the Dockerfile builds.

Each folder of tests/migrations is a Dockerfile with its context. It is built by `docker build`, and as the
habitat that it was migrated to, and the two images are compared.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from conftest import PREFIX, Project, clear, docker, fresh_name, inspect
from image_comparison import differences

from phases.core.engine.docker_api import buildkit_cli

if TYPE_CHECKING:
    from collections.abc import Iterator

    from phases.core.engine.docker_api.client import DockerEngine

pytestmark = pytest.mark.engine

CASES = Path(__file__).resolve().parent.parent / "migrations"

#: What a habitat has besides, as docs/migrating.md says.
_OWN_PATHS = (
    "/habitat",
    "/habitat/*",
    "/etc/profile.d",
    "/etc/profile.d/habitat.sh",
    "/etc/habitat-release",
    "/var/www",  # a home of www-data's, which Debian's image names and doesn't have
)
_OWN_CONFIG = re.compile(
    r"env (USER|WORKDIR|HABITAT_PATH|SYSTEM_PATH|SHARED_PATH|LOCAL_PATH): "
    r"|env PATH: '(?P<path>.*)' ≠ '/habitat/system/tools/bin:(?P=path)'"
    r"|Entrypoint: |Cmd: |User: (None ≠ root|33 ≠ www-data)$|WorkingDir: None ≠ /$"
)


class MigratedHabitat(NamedTuple):
    """A migrated habitat, built. image: what `docker build` made of its Dockerfile."""

    project: Project
    name: str
    image: str
    report: str

    @property
    def folder(self) -> Path:
        return self.project.root / "habitats" / self.name

    @property
    def config(self) -> str:
        return (self.folder / "config.yaml").read_text()


@pytest.fixture(scope="module", params=sorted(folder.name for folder in CASES.iterdir()))
def case(
    request: pytest.FixtureRequest, engine: DockerEngine, busybox: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[MigratedHabitat]:
    name = fresh_name()
    project = Project(tmp_path_factory.mktemp("migrated"))
    folder = project.root / "habitats" / name
    shutil.copytree(CASES / request.param, folder, symlinks=True)
    dockerfile = folder / "Dockerfile"
    dockerfile.write_text(dockerfile.read_text().replace(f"{PREFIX}-busybox:SESSION", busybox))
    image = f"{PREFIX}-built-{name[-8:]}:1"
    try:
        build(folder, image)
        report = project.doit(f"migrate:{name}")
        assert report.code == 0, report.out
        result = project.doit(f"final:{name}")
        assert result.code == 0, result.out + (folder / "config.yaml").read_text()
        yield MigratedHabitat(project, name, image, report.out)
    finally:
        clear(engine, name)
        engine.untag(image)


def build(folder: Path, image: str) -> None:
    """With BuildKit, as `docker build` has it today."""
    command = buildkit_cli.find()
    assert command
    assert command.buildkit
    result = subprocess.run(
        (command.program, "build", "--progress=plain", "--tag", image, folder),
        env={**os.environ, "DOCKER_BUILDKIT": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr


@pytest.mark.guarantee("migrated-habitat-equals-dockerfile")
def test_migrated_habitat_equals_dockerfile_image(case: MigratedHabitat) -> None:
    """Users, variables, files with owners and modes; but for what a habitat has besides."""
    workdir = inspect(f"habitat-{case.name}:final")["Config"]["WorkingDir"]
    owner = re.compile(rf"{re.escape(workdir)}: [ug]id ")  # phase workdir gives it to USER
    differing = differences(case.image, f"habitat-{case.name}:final", ignoring=_OWN_PATHS)
    assert [row for row in differing if not _OWN_CONFIG.match(row) and not owner.match(row)] == [], case.config


@pytest.mark.guarantee("migrated-habitat-equals-dockerfile")
def test_migrated_habitat_runs_command_of_image(case: MigratedHabitat) -> None:
    expected = docker("run", "--rm", case.image)
    assert expected
    result = case.project.doit(f"start:{case.name}")
    assert result.code == 0, result.out
    assert result.out.strip().splitlines()[-len(expected.splitlines()) :] == expected.splitlines()


@pytest.mark.guarantee("migrated-habitat-equals-dockerfile")
def test_migrate_report_lists_every_dockerfile_line(case: MigratedHabitat) -> None:
    rows = (case.folder / "Dockerfile").read_text().splitlines()
    begins = re.compile(r"(FROM|ARG|ENV|LABEL|COPY|RUN|USER|WORKDIR|SHELL|EXPOSE|ENTRYPOINT|CMD) ")
    lines = [number for number, row in enumerate(rows, start=1) if begins.match(row)]
    assert sorted(map(int, re.findall(r"^ {4} *(\d+)  ", case.report, re.MULTILINE))) == lines
    assert "Traceback" not in case.report


@pytest.mark.guarantee("migration-loses-nothing")
def test_migrate_again_changes_nothing_and_remove_deletes_dockerfile(case: MigratedHabitat) -> None:
    before = {path.name: path.read_bytes() for path in case.folder.iterdir() if path.is_file()}
    again = case.project.doit(f"migrate:{case.name}")
    assert (again.code, again.out) == (0, f"{case.name}: nothing to migrate\n")
    assert {path.name: path.read_bytes() for path in case.folder.iterdir() if path.is_file()} == before
    removed = case.project.doit(f"migrate:{case.name}", "--remove")
    assert removed.out.startswith(f"{case.name}: removed Dockerfile"), removed.out
    assert case.project.doit(f"plan:{case.name}").out == f"{case.name}: nothing to do\n"


@pytest.mark.guarantee("split-migration-is-compared")
def test_migrate_split_builds_both_ways_and_lists_what_differs(project: Project, busybox: str, name: str) -> None:
    project.write(
        f"habitats/{name}/Dockerfile",
        f"""\
        FROM {busybox} AS other
        RUN echo tool >/tool
        FROM {busybox}
        RUN ls /bin >/listed; echo a >'/a b'; ln -s a /link; mkdir /own && chown 7:8 /own; mkdir -m 1777 /made
        COPY --from=other /tool /bin/own-tool
        RUN ls /bin >/listed-again
        """,
    )
    result = project.doit(f"migrate:{name}", "--split")
    assert result.code == 0, result.out
    assert result.out.splitlines()[-3:] == [
        "  the images differ, with the one in the order of the Dockerfile on the left:",
        "    /listed: another content",
        f"  for the order of the Dockerfile: rm config.yaml in {name}/, and migrate without --split",
    ], result.out
    assert "COPY --from=other" in (project.root / f"habitats/{name}/Dockerfile.rest").read_text()
    assert "ls /bin >/listed;" in (project.root / f"habitats/{name}/config.yaml").read_text()
    assert project.doit(f"plan:{name}").out == f"{name}: nothing to do\n"


@pytest.mark.guarantee("migration-loses-nothing")
def test_migrate_remove_keeps_dockerfile_still_needed(project: Project, busybox: str, name: str) -> None:
    project.write(f"habitats/{name}/Dockerfile", f"FROM {busybox}\nRUN true\n")
    refused = project.doit(f"migrate:{name}", "--remove")
    assert refused.code == 1
    assert f"habitats/{name}/Dockerfile: the habitat is built from it: `doit migrate:{name}` comes first" in refused
    assert project.doit(f"migrate:{name}").code == 0
    unbuilt = project.doit(f"migrate:{name}", "--remove")
    assert unbuilt.code == 1
    assert f"{name}: the Dockerfile stays until the habitat was built without it" in unbuilt
    assert (project.root / f"habitats/{name}/Dockerfile").exists()


def test_migrate_invalid_dockerfile_or_arg_is_one_line_error_and_writes_nothing(
    project: Project, busybox: str, name: str
) -> None:
    file = project.write(f"habitats/{name}/Dockerfile", f"FROM {busybox}\nRUN true\nFORM x\n")
    broken = project.doit(f"migrate:{name}")
    assert (
        broken.out == f"❌ habitats/{name}/Dockerfile:3: is not a Dockerfile: unknown instruction: FORM: "
        "fix the line, then run the same command\n"
    )
    file.write_text(f"ARG A\nFROM {busybox}\nRUN echo $A\n")
    unknown = project.doit(f"migrate:{name}", "--arg", "B=1")
    assert "there is no ARG B: " in unknown
    file.write_text("ARG TAG\nFROM debian:$TAG\n")
    nameless = project.doit(f"migrate:{name}")
    assert f"habitats/{name}/Dockerfile:2: FROM names 'debian:', which can't be an image's name: correct" in nameless
    assert [path.name for path in file.parent.iterdir()] == ["Dockerfile"]
