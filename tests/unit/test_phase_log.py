"""The log of a phase: whole, or its head and its tail, whatever is printed and whenever the run is killed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import tracemalloc
from typing import TYPE_CHECKING

import pytest
from conftest import ROOT

from phases.core import events
from phases.core.engine.output import BlockSplitter, LineSplitter
from phases.core.errors import StateError
from phases.core.files import atomic, phase_log
from phases.core.files.phase_log import PhaseLog
from phases.ui.jsonl.reporter import JsonlReporter

if TYPE_CHECKING:
    from pathlib import Path

HEAD, TAIL = 1000, 2000


@pytest.fixture
def small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phase_log, "HEAD", HEAD)
    monkeypatch.setattr(phase_log, "TAIL", TAIL)
    monkeypatch.setattr(phase_log, "_LINE", 200)


def left_out(data: bytes) -> tuple[bytes, int, bytes]:
    """What is before the cut, how many bytes it says are left out, and what is behind it."""
    before, output, after = re.split("── ([0-9,]+) bytes are left out here ──\n".encode(), data)
    return before, int(output.replace(b",", b"")), after


@pytest.mark.guarantee("endless-output-bounded-log")
@pytest.mark.usefixtures("small_limits")
@pytest.mark.parametrize("length", [0, 1, 7, 63, 150])
@pytest.mark.parametrize("at_once", [1, 3, 1000])
def test_phase_log_of_flood_keeps_whole_lines_of_head_and_tail(tmp_path: Path, length: int, at_once: int) -> None:
    path = tmp_path / "log"
    lines = [f"{number} {'x' * length}" for number in range(3000)]
    printed = "".join(f"{line}\n" for line in lines).encode()
    with PhaseLog(path) as log:
        for start in range(0, len(lines), at_once):
            log.write(*lines[start : start + at_once])
            assert path.stat().st_size <= HEAD + 2 * TAIL
    before, missing, after = left_out(path.read_bytes())
    assert before + printed[len(before) : len(before) + missing] + after == printed
    assert len(before) + missing + len(after) == len(printed)
    assert printed[len(before) - 1 : len(before)] == b"\n"
    assert HEAD - 200 <= len(before) <= HEAD
    assert len(after) >= min(TAIL, 100)
    assert [entry.name for entry in tmp_path.iterdir()] == ["log"]


@pytest.mark.usefixtures("small_limits")
def test_phase_log_of_small_output_is_complete(tmp_path: Path) -> None:
    with PhaseLog(tmp_path / "log") as log:
        log.write("x" * (HEAD + 2 * TAIL - 1))
    assert (tmp_path / "log").read_bytes() == b"x" * (HEAD + 2 * TAIL - 1) + b"\n"


@pytest.mark.guarantee("endless-output-bounded-log")
def test_phase_log_of_run_killed_at_any_moment_has_whole_lines(tmp_path: Path) -> None:
    """Many kills, most of them while the log is cut: that is what the process does most."""
    script = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from pathlib import Path
from phases.core.files import phase_log
phase_log.HEAD, phase_log.TAIL, phase_log._LINE = 100_000, 100_000, 1000
number = 0
with phase_log.PhaseLog(Path(sys.argv[1])) as log:
    while True:
        log.write(*(f"{{line}} of the output" for line in range(number, number + 500)))
        if not number:
            print("begun", flush=True)
        number += 500
"""
    path = tmp_path / "log"
    for kill in range(12):
        process = subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE)
        assert process.stdout
        process.stdout.readline()
        time.sleep(0.02 + kill * 0.006)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        data = path.read_bytes()
        assert len(data) <= 300_000
        assert data.startswith(b"0 of the output\n")
        if "left out" not in data.decode():
            continue
        before, missing, after = left_out(data)
        last = int(before.splitlines()[-1].split()[0])
        first = int(after.split(b" ", 1)[0])
        assert sum(len(f"{line} of the output\n") for line in range(last + 1, first)) == missing
        whole = [int(line.split()[0]) for line in after.splitlines()[:-1]]
        assert whole == list(range(first, first + len(whole)))
    atomic.sweep_state(tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["log"]


@pytest.mark.usefixtures("small_limits")
def test_phase_log_disk_full_while_shortened_is_error_and_log_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, os.strerror(28))

    with PhaseLog(tmp_path / "log") as log:
        monkeypatch.setattr(phase_log, "_copy", full)
        lines = [f"{number}" for number in range(10_000)]
        with pytest.raises(StateError, match=r"can't be written \(No space left on device\): make room on the disk"):
            log.write(*lines)
    assert (tmp_path / "log").read_bytes().startswith(b"0\n1\n2\n")
    assert [entry.name for entry in tmp_path.iterdir()] == ["log"]


@pytest.mark.guarantee("endless-output-bounded-log")
def test_phase_log_of_flood_uses_bounded_memory(tmp_path: Path) -> None:
    with PhaseLog(tmp_path / "log") as log:
        splitter = BlockSplitter(lambda lines: log.write(*lines))
        chunk = b"y\n" * 16384
        splitter.feed(chunk)
        tracemalloc.start()
        for _ in range(1500):
            splitter.feed(chunk)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 8_000_000
    assert (tmp_path / "log").stat().st_size <= phase_log.HEAD + 2 * phase_log.TAIL


@pytest.mark.parametrize("data", [b"a\nb", b"a\r\nb\r", b"\n\n", b"a\r\rb\n", b"\xe2\x94\n\x80", b"", b"a\n\rb\r\n"])
@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_line_splitter_in_any_chunks_gives_same_lines(data: bytes, size: int) -> None:
    lines: list[str] = []
    splitter = LineSplitter(lines.append)
    for start in range(0, len(data), size):
        splitter.feed(data[start : start + size])
    splitter.close()
    text = re.sub(b"\r\n|\r|\n", b"\n", data)
    assert lines == [line.decode(errors="replace") for line in text.removesuffix(b"\n").split(b"\n") if text]


def test_output_block_event_becomes_one_record_per_line() -> None:
    block = events.OutputBlock("demo", "setup", ("one", "two"), "stderr")
    messages = [record.text for record in JsonlReporter._records(None, block)]  # type: ignore[arg-type,attr-defined]
    assert messages == ["one", "two"]
