"""Stamps: absent, present or forgotten; whole or not there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from phases.core.cache.stamps import StampBackend, Stamps, stamp_path
from phases.core.errors import StateError
from phases.core.files import digest_cache, safe_open

TASK = "setup:demo"
RECORD = {"_values_:": {"hash": "abc"}, "x": [1.5, 2, "d1"], "deps:": ["x"], "checker:": "MD5Checker"}


@pytest.fixture
def stamps(tmp_path: Path) -> Stamps:
    return Stamps(tmp_path)


def state(stamps: Stamps) -> str:
    if stamps.is_forgotten(TASK):
        return "forgotten"
    return "present" if stamps.read(TASK) else "absent"


@pytest.mark.parametrize(
    ("doings", "expected"),
    [
        ([], "absent"),
        (["write"], "present"),
        (["write", "write"], "present"),
        (["forget"], "forgotten"),
        (["write", "forget"], "forgotten"),
        (["forget", "write"], "present"),
        (["write", "drop"], "absent"),
        (["drop"], "absent"),
        (["forget", "drop"], "forgotten"),
        (["forget", "drop", "write", "drop"], "absent"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else value,
)
def test_stamp_is_absent_present_or_forgotten(stamps: Stamps, doings: list[str], expected: str) -> None:
    does = {
        "write": lambda: stamps.write(TASK, RECORD),
        "forget": lambda: stamps.forget(TASK),
        "drop": lambda: stamps.drop(TASK),
    }
    for doing in doings:
        does[doing]()
    assert state(stamps) == expected


@pytest.mark.parametrize(
    ("task", "path"),
    [
        ("setup:demo", ".stamps/demo/7-setup.stamp"),
        ("final:a.b-c", ".stamps/a.b-c/12-final.stamp"),
        ("start:demo", None),
        ("setup", None),
        ("nothing:demo", None),
    ],
)
def test_stamp_path_is_derived_from_task_name(tmp_path: Path, task: str, path: str | None) -> None:
    assert stamp_path(tmp_path, task) == (tmp_path / path if path else None)


def test_stamp_record_round_trips(stamps: Stamps) -> None:
    stamps.write(TASK, RECORD)
    assert stamps.read(TASK) == RECORD


def test_stamp_write_replaces_file_atomically(stamps: Stamps, monkeypatch: pytest.MonkeyPatch) -> None:
    stamps.write(TASK, RECORD)
    place = stamp_path(stamps.root, TASK)
    assert place is not None
    seen = []

    def replace(fresh: Path, target: Path) -> None:
        seen.append((json.loads(fresh.read_text()), json.loads(target.read_text())))

    monkeypatch.setattr(Path, "replace", replace)
    stamps.write(TASK, {"new": 1})
    assert seen == [({"new": 1}, RECORD)], "the new one is whole before the old one goes"


def test_stamp_write_leaves_no_other_file(stamps: Stamps) -> None:
    for number in range(3):
        stamps.write(TASK, {"number": number})
    assert [path.name for path in (stamps.root / ".stamps/demo").iterdir()] == ["7-setup.stamp"]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'"x"', b"NaN"])
def test_stamp_malformed_counts_as_absent_with_warning(tmp_path: Path, content: bytes) -> None:
    messages: list[str] = []
    stamps = Stamps(tmp_path, messages.append)
    path = tmp_path / ".stamps/demo/7-setup.stamp"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    assert stamps.read(TASK) == {}
    assert not stamps.is_forgotten(TASK)
    assert messages
    assert messages[0].startswith(".stamps/demo/7-setup.stamp: the stamp can't be read (")
    stamps.write(TASK, RECORD)
    assert stamps.read(TASK) == RECORD


def test_stamp_write_failure_is_state_error(tmp_path: Path) -> None:
    (tmp_path / ".stamps").write_text("a file")
    with pytest.raises(StateError) as excinfo:
        Stamps(tmp_path).write(TASK, RECORD)
    assert excinfo.value.remedy == "move what is in its place out of the way"


class TestStampBackend:
    """What doit calls, and when."""

    @pytest.fixture
    def backend(self, tmp_path: Path) -> StampBackend:
        return StampBackend(str(tmp_path / ".stamps"), object())

    def succeed(self, backend: StampBackend) -> None:
        for key, value in RECORD.items():
            if key != "deps:":
                backend.set(TASK, key, value)
        backend.set(TASK, "deps:", RECORD["deps:"])

    def test_stamp_backend_success_is_on_disk_immediately(self, backend: StampBackend) -> None:
        self.succeed(backend)
        assert backend.stamps.read(TASK) == RECORD

    def test_stamp_backend_unchanged_dependency_stays_in_record(self, backend: StampBackend) -> None:
        """doit sets the state of a file only when it has another time than before."""
        self.succeed(backend)
        backend.set(TASK, "_values_:", {"hash": "def"})
        backend.set(TASK, "deps:", ["x"])
        assert backend.stamps.read(TASK) == {"_values_:": {"hash": "def"}, "x": RECORD["x"], "deps:": ["x"]}

    def test_stamp_backend_partial_success_is_not_on_disk(self, backend: StampBackend) -> None:
        backend.set(TASK, "_values_:", {"hash": "abc"})
        assert state(backend.stamps) == "absent"
        assert backend.get(TASK, "_values_:") == {"hash": "abc"}

    def test_stamp_backend_record_is_read_by_next_run(self, backend: StampBackend) -> None:
        self.succeed(backend)
        other = StampBackend(backend.name, object())
        assert other.get(TASK, "_values_:") == {"hash": "abc"}
        assert other.get(TASK, "nothing") is None
        assert other.in_(TASK)
        assert not other.in_("base:demo")

    def test_stamp_backend_failed_task_keeps_its_stamp(self, backend: StampBackend) -> None:
        """doit removes both; only the build knows which of them ran."""
        self.succeed(backend)
        backend.set(TASK, "_values_:", {})
        backend.remove(TASK)
        backend.dump()
        assert backend.stamps.read(TASK) == RECORD

    def test_stamp_backend_failure_keeps_forgotten_state(self, backend: StampBackend) -> None:
        backend.stamps.forget(TASK)
        backend.remove(TASK)
        backend.dump()
        assert state(backend.stamps) == "forgotten"

    def test_stamp_backend_success_ends_forgotten_state(self, backend: StampBackend) -> None:
        backend.stamps.forget(TASK)
        self.succeed(backend)
        assert state(backend.stamps) == "present"

    def test_stamp_backend_ignore_mark_is_added_to_stamp(self, backend: StampBackend) -> None:
        self.succeed(backend)
        backend.set(TASK, "ignore:", "1")
        backend.dump()
        assert StampBackend(backend.name, object()).stamps.read(TASK) == {**RECORD, "ignore:": "1"}

    def test_stamp_backend_ignore_mark_without_stamp_is_stored(self, backend: StampBackend) -> None:
        backend.set(TASK, "ignore:", "1")
        backend.dump()
        assert StampBackend(backend.name, object()).get(TASK, "ignore:") == "1"

    def test_stamp_backend_task_without_stamp_writes_no_file(self, backend: StampBackend) -> None:
        backend.set("start:demo", "deps:", [])
        backend.dump()
        assert not Path(backend.name).exists()


def reads_of_files(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """What is read from here on."""
    reads: list[Path] = []
    read = safe_open.read

    def recorded(path: Path, limit: int) -> bytes | None:
        reads.append(path)
        return read(path, limit)

    monkeypatch.setattr(safe_open, "read", recorded)
    return reads


def test_stamp_is_read_once_until_changed(stamps: Stamps, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digest_cache, "_SETTLED", -1)  # as if it were long since it was written
    reads = reads_of_files(monkeypatch)
    Stamps(stamps.root).write(TASK, RECORD)
    reads.clear()
    assert [stamps.read(TASK), stamps.read(TASK)] == [RECORD, RECORD]
    assert len(reads) == 1
    Stamps(stamps.root).forget(TASK)
    assert state(stamps) == "forgotten"
    Stamps(stamps.root).write(TASK, RECORD)
    Stamps(stamps.root).drop(TASK)
    assert state(stamps) == "absent"


def test_stamp_just_written_is_read_again(stamps: Stamps, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second write may bear the same time."""
    reads = reads_of_files(monkeypatch)
    stamps.write(TASK, RECORD)
    reads.clear()
    assert [stamps.read(TASK), stamps.read(TASK)] == [RECORD, RECORD]
    assert len(reads) == 2
