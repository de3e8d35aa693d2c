"""Workspaces on the real engine, with the programs of busybox: what follows a rebuild, and what stays."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from conftest import Project, clear, docker, fresh_name

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from phases.core.engine.docker_api.client import DockerEngine

pytestmark = pytest.mark.engine

# What the setup of the first image, and that of the second, have in WORKDIR.
BEFORE = """\
mkdir -p d && for file in same theirs mine both d/gone 'an odd $name'; do echo old >"$file"; done
chmod 600 theirs; ln -s same link"""
AFTER = (
    BEFORE.replace("d/gone", "").replace("ln -s same", "ln -s mine")
    + """
echo new >theirs; echo new >both; echo new >'an odd $name'
mkdir -p 'new folder/deep'; echo new >'new folder/deep/file'"""
)
SHOWN = """cd /work; for file in same theirs mine both d/gone 'an odd $name' 'new folder/deep/file' own; do
cat "$file" 2>/dev/null || echo none; done; readlink link; stat -c '%a %u' theirs 'new folder' own"""


@pytest.fixture
def project(engine: DockerEngine, tmp_path: Path) -> Iterator[tuple[Project, str]]:
    name = fresh_name()
    yield Project(tmp_path), name
    clear(engine, name)


def configure(project: Project, name: str, image: str, script: str, *, uid: int = 1500, more: str = "") -> None:
    indented = script.replace("\n", "\n        ")
    project.habitat(
        name,
        f"""\
base_image: {image}
{more}uid: {uid}
env: [WORKDIR=/work]
setup:
  user:
    - |
        cd /work
        {indented}
""",
    )


@pytest.mark.guarantee("workspace-outlives-containers", "workspace-follows-image")
def test_workspace_takes_earlier_work_along_and_follows_rebuild_with_other_uid(
    project: tuple[Project, str], busybox: str
) -> None:
    folder, name = project
    task = f"start:{name}"

    def run(command: str) -> str:
        result = folder.doit(task, "--cmd", command)
        assert result.code == 0, result.out
        return result.out

    configure(folder, name, busybox, BEFORE, more="workspace: image\n")
    run("cd /work; echo mine >mine; echo mine >both; echo mine >own")
    configure(folder, name, busybox, BEFORE)
    taken = run("cat /work/mine /work/same; touch /work/later")
    assert "the files in /work of " in taken
    assert taken.splitlines()[-2:] == ["mine", "old"]

    configure(folder, name, busybox, AFTER, uid=1600)
    rebuilt = run(SHOWN)
    assert "/work: 7 changed by the rebuild: " in rebuilt, rebuilt
    assert "/work: 1 path changed both here and by the rebuild, and stays as it is here: both" in rebuilt
    assert rebuilt.splitlines()[-12:] == [
        *("old", "new", "mine", "mine", "none", "new", "new", "mine", "mine"),
        *("600 1600", "755 1600", "644 1600"),
    ]
    again = run("ls -A /work | wc -l")
    assert "changed by the rebuild" not in again
    assert again.splitlines()[-1] == "10"
    volumes = docker("volume", "ls", "--quiet", "--filter", f"label=habitat.name={name}").split()
    assert len(volumes) == 1
    assert f"its workspace is kept: `doit destroy:{name} --workspace` removes it" in folder.doit(
        f"destroy:{name}", "--yes"
    )
    assert docker("volume", "ls", "--quiet", "--filter", f"label=habitat.name={name}").split() == volumes
    assert folder.doit(f"destroy:{name}", "--yes", "--workspace").code == 0
    assert docker("volume", "ls", "--quiet", "--filter", f"label=habitat.name={name}") == ""
