"""A folder that is there as long as a run wants it."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from conftest import ROOT

from phases.core.files.temporary_folder import sweep, temporary_folder

if TYPE_CHECKING:
    from pathlib import Path

HOLD = """
import sys
from pathlib import Path
from phases.core.files.temporary_folder import temporary_folder
with temporary_folder(Path(sys.argv[1])) as folder:
    (folder / "what").mkdir()
    print(folder, flush=True)
    sys.stdin.read()
"""


@pytest.mark.guarantee("no-temporary-files-of-killed-run")
def test_temporary_folder_in_use_survives_sweep(tmp_path: Path) -> None:
    with temporary_folder(tmp_path) as folder, temporary_folder(tmp_path) as other:
        (folder / "file").write_text("")
        sweep(tmp_path)
        assert (folder / "file").exists()
        assert other.exists()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.guarantee("no-temporary-files-of-killed-run")
def test_temporary_folder_of_killed_run_is_removed_by_next_run(tmp_path: Path) -> None:
    argv = (sys.executable, "-c", HOLD, str(tmp_path))
    with subprocess.Popen(argv, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout
        folder = run.stdout.readline().strip()
        sweep(tmp_path)
        assert [str(path) for path in tmp_path.iterdir()] == [folder]
        run.kill()
        run.wait()
    with temporary_folder(tmp_path) as mine:
        assert list(tmp_path.iterdir()) == [mine]
    assert list(tmp_path.iterdir()) == []
