"""What is in a file is remembered as long as it can't have been written to since."""

from __future__ import annotations

import hashlib
import json
import os
import time
from typing import TYPE_CHECKING

import pytest
from unit_helpers import DemoProject, write

from phases.core.files import digest_cache, safe_open
from phases.core.files.digest_cache import Digests, state
from phases.registry import named

if TYPE_CHECKING:
    from pathlib import Path

OLD = 10**9  # a time long ago, in seconds


@pytest.fixture
def no_settling_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was written just now counts as settled."""
    monkeypatch.setattr(digest_cache, "_SETTLED", -1)


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that are read from now on, but for the one that remembers."""
    actual: list[Path] = []
    open_read = safe_open.open_read

    def noting(path: Path) -> object:
        if path.name != "digests":
            actual.append(path)
        return open_read(path)

    monkeypatch.setattr(safe_open, "open_read", noting)
    return actual


@pytest.mark.usefixtures("no_settling_time")
def test_digest_cache_unchanged_file_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(tmp_path, "a", "one")
    first = Digests(tmp_path / "digests")
    assert first.sha256(file, state(file.stat())) == sha256("one")
    first.save()
    seen = reads(monkeypatch)
    assert Digests(tmp_path / "digests").sha256(file, state(file.stat())) == sha256("one")
    assert seen == []


@pytest.mark.guarantee("changed-copied-file-read-again")
@pytest.mark.usefixtures("no_settling_time")
@pytest.mark.parametrize("change", ["other content", "other content of that size, with the old time", "another file"])
def test_digest_cache_changed_file_is_read_again(tmp_path: Path, change: str) -> None:
    file = write(tmp_path, "a", "one")
    os.utime(file, (OLD, OLD))
    first = Digests(tmp_path / "digests")
    first.sha256(file, state(file.stat()))
    first.save()
    match change:
        case "other content":
            file.write_text("three")
        case "another file":
            write(tmp_path, "b", "two").replace(file)
        case _:
            file.write_text("two")
    os.utime(file, (OLD, OLD))
    assert Digests(tmp_path / "digests").sha256(file, state(file.stat())) == sha256(file.read_text())


@pytest.mark.guarantee("changed-copied-file-read-again")
def test_digest_cache_file_just_written_is_not_remembered(tmp_path: Path) -> None:
    """It may be written to again in the same tick of the clock."""
    file = write(tmp_path, "a", "one")
    first = Digests(tmp_path / "digests")
    first.sha256(file, state(file.stat()))
    first.save()
    assert not (tmp_path / "digests").exists()


@pytest.mark.usefixtures("no_settling_time")
def test_digest_cache_unused_entries_are_removed(tmp_path: Path) -> None:
    both = [write(tmp_path, name, name) for name in ("a", "b")]
    for wanted in (both, both[:1]):
        memory = Digests(tmp_path / "digests")
        for file in wanted:
            memory.sha256(file, state(file.stat()))
        memory.save()
    assert list(json.loads((tmp_path / "digests").read_text())) == [str(both[0])]


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"a": 1}', '{"a": []}', '{"a": [1, 2]}', "\x00"])
def test_digest_cache_malformed_file_is_ignored(tmp_path: Path, text: str) -> None:
    write(tmp_path, "digests", text)
    file = write(tmp_path, "a", "one")
    assert Digests(tmp_path / "digests").sha256(file, state(file.stat())) == sha256("one")


@pytest.mark.usefixtures("no_settling_time")
def test_assess_second_run_reads_only_touched_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("one", "two"):
        write(tmp_path, f"habitats/demo/{name}", name)
    demo = DemoProject(tmp_path)
    before = demo.project.assess("demo").hashes
    seen = reads(monkeypatch)
    assert demo.run_anew().assess("demo").hashes == before
    assert [path.name for path in seen if path.name in ("one", "two")] == []
    os.utime(tmp_path / "habitats/demo/one")
    assert demo.run_anew().assess("demo").hashes == before
    assert [path.name for path in seen if path.name in ("one", "two")] == ["one"]
    write(tmp_path, "habitats/demo/two", "TWO")
    assert demo.run_anew().assess("demo").hashes["files"] != before["files"]


@pytest.mark.usefixtures("no_settling_time")
def test_assessment_without_writing_leaves_no_digest_cache(tmp_path: Path) -> None:
    write(tmp_path, "habitats/demo/one", "one")
    demo = DemoProject(tmp_path)
    demo.project.assessments.look("demo")
    assert not (tmp_path / ".stamps").exists()


def test_slice_contains_nothing_of_digest_cache(tmp_path: Path) -> None:
    file = write(tmp_path, "habitats/demo/one", "one")
    demo = DemoProject(tmp_path)
    slice_file = demo.project.slices.path("demo", named("files"))
    demo.project.assess("demo")
    before = slice_file.read_bytes()
    os.utime(file, (time.time() + 5, time.time() + 5))
    demo.run_anew().assess("demo")
    assert slice_file.read_bytes() == before
