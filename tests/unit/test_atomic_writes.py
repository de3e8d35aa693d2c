"""What is to take its place at once: who is at it keeps it, what a killed run has left goes."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from phases.core.files import atomic

if TYPE_CHECKING:
    from pathlib import Path

# Begins a draft in a process of its own, and waits there.
BEGIN = """
import sys
from pathlib import Path
from phases.core.files import atomic
kind = atomic.draft_file if sys.argv[2] == "file" else atomic.draft_folder
with kind(Path(sys.argv[1])) as draft:
    print("begun", flush=True)
    sys.stdin.readline()
"""


def begun(place: Path, kind: str, *wrapper: str) -> subprocess.Popen[str]:
    argv = (*wrapper, sys.executable, "-c", BEGIN, str(place), kind)
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "begun\n"
    return process


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.guarantee("only-leftovers-of-ended-processes")
@pytest.mark.parametrize("kind", ["file", "folder"])
def test_draft_of_live_process_is_kept_and_of_killed_process_removed(tmp_path: Path, kind: str) -> None:
    with begun(tmp_path / "x", kind) as process:
        atomic.sweep(tmp_path, "x")
        assert len(names(tmp_path)) == 1
        process.kill()
        process.wait()
    atomic.sweep(tmp_path, "x")
    assert names(tmp_path) == []


@pytest.mark.guarantee("only-leftovers-of-ended-processes")
def test_draft_of_process_in_other_namespace_is_kept(tmp_path: Path) -> None:
    """Its number is nobody's here, or somebody else's."""
    with begun(tmp_path / "x", "file", "unshare", "--user", "--pid", "--fork") as process:
        atomic.sweep_state(tmp_path)
        assert len(names(tmp_path)) == 1
        process.communicate("\n")


def test_draft_of_earlier_version_named_by_pid_is_removed(tmp_path: Path) -> None:
    (tmp_path / f".3-env.json.{os.getpid()}").write_text("half")
    atomic.sweep_state(tmp_path)
    assert names(tmp_path) == []


@pytest.mark.parametrize("name", [".x.old", ".x", "x.1", ".y.1", ".x.y.1"])
def test_sweep_of_one_draft_keeps_files_with_other_names(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    atomic.sweep(tmp_path, "x")
    assert names(tmp_path) == [name]


def test_sweep_follows_no_link_and_ignores_named_pipe(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("mine")
    folder = tmp_path / "state"
    folder.mkdir()
    (folder / ".x.1").symlink_to(precious)
    (folder / ".x.2").symlink_to(tmp_path)
    os.mkfifo(folder / ".x.3")
    atomic.sweep(folder, "x")
    assert precious.read_text() == "mine"


def test_write_from_several_threads_never_mixes_contents(tmp_path: Path) -> None:
    """Two processes may have the same number."""
    place = tmp_path / "x"
    whole = [bytes([number]) * 200_000 for number in range(4)]

    def write(data: bytes) -> None:
        for _ in range(20):
            atomic.write_if_changed(place, data)

    threads = [threading.Thread(target=write, args=(data,)) for data in whole]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert place.read_bytes() in whole
    assert names(tmp_path) == ["x"]


def test_write_during_sweeps_is_never_lost(tmp_path: Path) -> None:
    over = threading.Event()

    def sweep() -> None:
        while not over.is_set():
            atomic.sweep_state(tmp_path)

    sweeping = [threading.Thread(target=sweep) for _ in range(3)]
    for thread in sweeping:
        thread.start()
    for number in range(200):
        atomic.write_if_changed(tmp_path / "x", str(number).encode())
        assert (tmp_path / "x").read_text() == str(number)
    over.set()
    for thread in sweeping:
        thread.join()


def test_draft_on_file_system_without_locks_is_written_and_never_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    atomic.write_if_changed(tmp_path / "x", b"whole")
    (tmp_path / ".x.1").write_text("somebody's")
    atomic.sweep_state(tmp_path)
    assert names(tmp_path) == [".x.1", "x"]
