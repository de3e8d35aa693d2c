"""A folder that is there as long as a run wants it."""

from __future__ import annotations

import os
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


@pytest.mark.parametrize("mode", [0o000, 0o500, 0o555])
@pytest.mark.guarantee("no-temporary-files-of-killed-run")
def test_temporary_folder_with_folder_that_nobody_may_write_is_removed(tmp_path: Path, mode: int) -> None:
    """As a context has one, whose modes are kept. root may write it anyway, unless it gives that up."""
    script = """
import sys
from pathlib import Path
from phases.core.files.temporary_folder import sweep, temporary_folder
def fill(folder):
    deep = folder / "context/a/b"
    deep.mkdir(parents=True)
    (deep / "file").touch()
    (folder / "context/link").symlink_to("/")
    for each in (deep, deep.parent, folder / "context"):
        each.chmod(int(sys.argv[2]))
state = Path(sys.argv[1])
with temporary_folder(state) as folder:
    fill(folder)
left = state / "passing.x"
left.mkdir()
fill(left)
sweep(state)
"""
    as_owner = ("setpriv", "--bounding-set=-dac_override,-dac_read_search") if os.geteuid() == 0 else ()
    subprocess.run([*as_owner, sys.executable, "-c", script, str(tmp_path), str(mode)], cwd=ROOT, check=True)
    assert list(tmp_path.iterdir()) == []
