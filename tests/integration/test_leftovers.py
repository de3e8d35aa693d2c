"""What a run that was killed leaves behind, and how long a wait may go on without a word."""

from __future__ import annotations

import json
import secrets
import signal
import sys
from typing import TYPE_CHECKING

import pytest
from conftest import Project, Running, failed

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.engine


# Folders


@pytest.fixture
def temporary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder for temporary files of the runs of a test."""
    return tmp_path_factory.mktemp("tmp")


def left_in(folder: Path) -> list[str]:
    """All that is in it but the folder of the locks."""
    return [path.name for path in folder.iterdir() if not path.name.startswith("habitats-")]


def test_a_killed_dockerfile_build_leaves_no_temporary_file(
    project: Project, busybox: str, name: str, temporary: Path
) -> None:
    project.habitat(name, "env: [USER=root]\n")
    project.write(f"habitats/{name}/Dockerfile", f"FROM {busybox}\nRUN echo begun by {name}; exec sleep 30\n")
    with Running(project, f"dockerfile:{name}", env={"TMPDIR": str(temporary)}) as running:
        running.wait_for(f"begun by {name}\n")
        assert left_in(temporary) == []
        running.process.send_signal(signal.SIGKILL)
        running.end()
    assert left_in(temporary) == []
    assert [path.name for path in (project.root / ".stamps" / name).iterdir() if path.name.startswith(".")] == []


# Failures that are too long


@pytest.mark.parametrize(
    "text", ["ä漢" * 25_000, '\\"$' * 40_000, secrets.token_hex(64_000)], ids=["wide", "quoted", "random"]
)
def test_a_failure_of_a_long_script_is_kept_and_is_the_one_that_debug_shows(
    project: Project, busybox: str, name: str, text: str
) -> None:
    config = {"base_image": busybox, "env": ["USER=root", "SYSTEM_PATH=", "SHARED_PATH=", "HABITAT_PATH="]}
    project.habitat(name, json.dumps({**config, "setup": {"root": ["echo the older; exit 9"]}}))
    assert project.doit(f"setup:{name}").code == 1
    project.habitat(name, json.dumps({**config, "setup": {"root": [f"# {text}\nexit 3"]}}))
    done = project.doit(f"setup:{name}")
    assert "could not be kept" not in done
    assert list(failed(name)) == ["7-setup-failed"]
    shown = project.run("sh", "-c", f"echo 'again; echo it ended with $?' | {sys.executable} -m doit debug:{name}")
    assert "the older" not in shown.out
    assert "setup command 1 of 1 ended with exit code" in shown.out
    assert "it ended with 3" in shown.out
