"""The lines of `-r jsonl`: whole ones, whatever they hold and whichever process writes them, and their records."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import signal
import subprocess
import sys
import termios
import threading
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, get_args

import msgspec
import pytest
from conftest import ROOT
from fake_engine import FakeEngine
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from test_reporter import ScriptedRun
from unit_helpers import write

from phases.core import errors, events
from phases.core.errors import CommandFailed, ConfigError, HabitatError
from phases.core.origin import Origin
from phases.ui.jsonl import option, records, writer
from phases.ui.jsonl.reporter import JsonlReporter, OutputDecoder
from phases.ui.jsonl.writer import JsonlWriter
from phases.ui.output import OutputLost
from phases.ui.tasks import HabitatFailed

if TYPE_CHECKING:
    from pathlib import Path

IN_DOCS: dict[str, Any] = json.loads((ROOT / "docs" / "events.schema.json").read_text())
SCHEMA = Draft202012Validator(IN_DOCS)


def notice(text: str) -> records.NoticeLine:
    return records.NoticeLine(text=text, warning=False)


class JsonlFile:
    """A file that a JsonlWriter writes, and its lines."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.writer = JsonlWriter(os.open(path, os.O_WRONLY | os.O_CREAT))

    @property
    def lines(self) -> list[dict[str, Any]]:
        actual = [json.loads(line) for line in self._path.read_bytes().decode("ascii").split("\n")[:-1]]
        for line in actual:
            SCHEMA.validate(line)
        return actual


@pytest.fixture
def jsonl_file(tmp_path: Path) -> JsonlFile:
    return JsonlFile(tmp_path / "lines")


# The schema


def test_jsonl_schema_in_docs_equals_schema_of_records() -> None:
    assert records.schema() == IN_DOCS, "script/schemas writes it"


def test_jsonl_schema_is_valid_and_refuses_malformed_events() -> None:
    Draft202012Validator.check_schema(IN_DOCS)
    when = "2026-01-31T12:00:00.000Z"
    assert SCHEMA.is_valid({"event": "phase_started", "time": when, "habitat": "h", "phase": "base"})
    assert not SCHEMA.is_valid({"event": "phase_started", "habitat": "h", "phase": "base"})
    assert not SCHEMA.is_valid({"event": "phase_started", "time": "noon", "habitat": "h", "phase": "base"})
    assert not SCHEMA.is_valid({"event": "phase_begun", "time": when, "habitat": "h", "phase": "base"})


def test_jsonl_docs_page_lists_every_event_and_valid_samples() -> None:
    whole = (ROOT / "docs" / "events.md").read_text(encoding="utf-8")
    page = whole.split("## The events\n", 1)[1].split("\n`kind` is one of", 1)[0]
    names = [IN_DOCS["$defs"][record.__name__]["properties"]["event"]["enum"][0] for record in records.RECORDS]
    assert [row.split("`")[1] for row in page.splitlines() if row.startswith("| `")] == names
    for record, name in zip(records.RECORDS, names, strict=True):
        row = next(row for row in page.splitlines() if row.startswith(f"| `{name}` |"))
        messages = row.split("|")[2]
        assert [field for field in record.__struct_encode_fields__ if f"`{field}`" not in messages] == [], name
    assert [kind for kind in get_args(records.Kind) if f"| `{kind}` |" not in whole] == []
    samples = [json.loads(row) for row in whole.splitlines() if row.startswith('{"event"')]
    for sample in samples:
        SCHEMA.validate(sample)
    assert {"run_started", "phase_failed", "run_ended"} <= {sample["event"] for sample in samples}


def test_every_error_class_has_failure_kind() -> None:
    own = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, HabitatError)]
    vague = [kind for kind in own if not set(kind.__mro__) & {*writer._KINDS} - {HabitatError}]
    assert vague == [HabitatError]
    assert set(writer._KINDS.values()) <= set(get_args(records.Kind))
    assert writer.error_fields(KeyError("x"))["kind"] == "program"


# Lines


@pytest.mark.guarantee("jsonl-lines-are-events")
@pytest.mark.parametrize(
    "text", ["", "\x1b[2J\a", "a\r\nb", "\u2028\x85\x9b31m", "✅ 😀 ä", "\x00\x7f", '"\\', " " * 70_000]
)
def test_jsonl_any_text_is_one_line_without_control_bytes(jsonl_file: JsonlFile, text: str) -> None:
    jsonl_file.writer.write(notice(text))
    line = jsonl_file._path.read_bytes().splitlines()[1]
    assert not any(byte < 0x20 for byte in line)
    assert jsonl_file.lines[1]["text"] == text


def test_jsonl_lone_surrogate_is_replaced_by_question_mark(jsonl_file: JsonlFile) -> None:
    jsonl_file.writer.write(notice("name\udcff"))
    assert jsonl_file.lines[1]["text"] == "name?"


def test_jsonl_omits_fields_that_do_not_apply(jsonl_file: JsonlFile) -> None:
    jsonl_file.writer.write(notice("x"))
    jsonl_file.writer.write(events.Reason(text="t", before=None))  # type: ignore[arg-type]
    line = json.loads(jsonl_file._path.read_bytes().splitlines()[1])
    assert set(line) == {"event", "time", "text", "warning"}
    assert b'"before": null' in jsonl_file._path.read_bytes()
    assert b'"after"' not in jsonl_file._path.read_bytes()


@pytest.mark.guarantee("jsonl-lines-are-events")
def test_jsonl_lines_of_many_threads_are_whole_and_none_follows_run_ended(jsonl_file: JsonlFile) -> None:
    def tell(number: int) -> None:
        for _ in range(100):
            jsonl_file.writer.write(notice(f"{number}" * 1000))

    threads = [threading.Thread(target=tell, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    jsonl_file.writer.end(0)
    tell(9)
    actual = jsonl_file.lines
    assert len(actual) == 802
    assert (actual[0]["event"], actual[-1]["event"]) == ("run_started", "run_ended")
    assert [line["time"] for line in actual] == sorted(line["time"] for line in actual)


class Alarm(Exception):
    pass


def signal_once_full(pipe: int) -> None:
    full = fcntl.fcntl(pipe, fcntl.F_GETPIPE_SZ) - 4096  # but for the rest of a page
    while int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)), sys.byteorder) < full:
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGALRM)


@pytest.mark.guarantee("jsonl-lines-are-events")
def test_jsonl_signal_during_write_keeps_line_complete() -> None:
    """The reader is slow, so that the pipe is full when the signal comes."""
    source, sink = os.pipe()
    writer = JsonlWriter(sink)

    def stop(*_: object) -> None:
        raise Alarm

    before = signal.signal(signal.SIGALRM, stop)
    waiting = threading.Thread(target=signal_once_full, args=(source,))
    waiting.start()
    try:
        with pytest.raises(Alarm):
            writer.write(notice("x" * 1_000_000))
    finally:
        waiting.join()
        signal.signal(signal.SIGALRM, before)
    got: list[bytes] = []

    def read() -> None:
        with os.fdopen(source, "rb") as stream:
            got.append(stream.readline() + stream.readline() + stream.readline())

    reader = threading.Thread(target=read)
    reader.start()
    writer.end(130, signal.SIGINT, ["setup:demo"])
    reader.join()
    started, cut, ended = map(json.loads, got[0].splitlines())
    assert started["event"] == "run_started"
    assert cut["text"] == "x" * 1_000_000
    assert (ended["exit_code"], ended["signal"], ended["at"]) == (130, "SIGINT", ["setup:demo"])


def test_jsonl_closed_reader_raises_output_lost_once() -> None:
    source, sink = os.pipe()
    writer = JsonlWriter(sink)
    os.close(source)
    with pytest.raises(OutputLost):
        writer.write(notice("x"))
    writer.write(notice("y"))
    writer.end(1)


@pytest.mark.guarantee("jsonl-output-joins-unchanged")
@given(st.lists(st.binary(max_size=6) | st.text(max_size=4).map(str.encode)))
def test_jsonl_output_in_any_chunks_can_be_reassembled(chunks: list[bytes]) -> None:
    decoder = OutputDecoder()
    decoded = [*(decoder.feed(chunk) for chunk in chunks), decoder.feed(b"", final=True)]
    whole = b"".join(part.get("text", "").encode() + base64.b64decode(part.get("base64", "")) for part in decoded)
    assert whole == b"".join(chunks)


def test_jsonl_utf8_text_split_anywhere_stays_text() -> None:
    text = "ä😀 done\n".encode()
    decoder = OutputDecoder()
    decoded = [decoder.feed(text[i : i + 1]) for i in range(len(text))]
    assert "".join(part.get("text", "") for part in decoded).encode() == text
    assert not any("base64" in part for part in decoded)


# The records of events


class RecordedRun(ScriptedRun):
    """A run as in the tests of the transcript, and its records."""

    def reporting(self) -> JsonlReporter:
        engine = FakeEngine()
        engine.add_image("debian")
        self.project.connection._connect = lambda: engine
        self.written = JsonlFile(self.project.root / "lines")
        return JsonlReporter(self.written.writer, {})

    def lines_of(self, *kinds: str) -> list[dict[str, Any]]:
        return [line for line in self.written.lines if line["event"] in kinds]


def test_jsonl_failed_phase_has_all_fields(tmp_path: Path) -> None:
    record = RecordedRun(tmp_path, "demo", goal="setup")
    log = write(tmp_path, ".stamps/demo/7-setup.log", "all of it").relative_to(tmp_path)
    error = CommandFailed(
        "setup command 1 of 1 ended with exit code 3",
        exit_code=3,
        where=Origin("local", "habitats/demo/config.yaml", 7),
        remedy=f"fix it; log: {log}",
        output=["$ make", "no \x1b[1mrule"],
    )
    record.fails("demo", "setup", error)
    (failed,) = record.lines_of("phase_failed")
    assert failed.pop("time")
    assert failed.pop("seconds") < 10
    assert failed == {
        "event": "phase_failed",
        "habitat": "demo",
        "phase": "setup",
        "kind": "command",
        "text": f"habitats/demo/config.yaml:7: setup command 1 of 1 ended with exit code 3: fix it; log: {log}",
        "message": "setup command 1 of 1 ended with exit code 3",
        "where": "habitats/demo/config.yaml:7",
        "remedy": "fix it",
        "exit_code": 3,
        "output": ["$ make", "no \x1b[1mrule"],
        "log": str(log),
    }


def test_jsonl_phase_that_cannot_begin_is_error_and_dependent_is_skipped(tmp_path: Path) -> None:
    record = RecordedRun(tmp_path, "demo")
    record.fails("demo", "base", ConfigError("unknown key", where="habitats/demo/config.yaml:1"), started=False)
    unmet = type("UnmetDependency", (), {"message": "base:demo"})()
    record.reporter.add_failure(record.tasks["users:demo"], unmet)
    error, skipped = record.lines_of("error", "skipped", "task_skipped", "phase_failed")
    assert (error["kind"], error["task"], error["where"]) == ("config", "base:demo", "habitats/demo/config.yaml:1")
    assert (skipped["task"], skipped["phase"], skipped["reason"]) == ("users:demo", "users", "it needs base:demo")


def test_jsonl_each_error_of_config_is_error(tmp_path: Path) -> None:
    record = RecordedRun(tmp_path, "demo")
    error = ConfigError("one", where="habitats/demo/config.yaml:1")
    error.others = (ConfigError("two", where="habitats/demo/config.yaml:2"),)
    record.fails("demo", "base", error, started=False)
    one, two = record.lines_of("error")
    assert [(line["text"], line["where"], line["task"]) for line in (one, two)] == [
        (f"habitats/demo/config.yaml:{number}: {text}", f"habitats/demo/config.yaml:{number}", "base:demo")
        for number, text in ((1, "one"), (2, "two"))
    ]


def test_jsonl_program_fault_is_error_with_traceback(tmp_path: Path) -> None:
    record = RecordedRun(tmp_path, "demo")
    task = record.begins("demo", "base")
    record.reporter.add_failure(task, SimpleNamespace(get_msg=lambda: "Traceback …\nKeyError: 'x'\n"))
    (error,) = record.lines_of("error")
    assert (error["kind"], error["message"]) == ("program", "Traceback …\nKeyError: 'x'\n")


def test_jsonl_failed_command_is_error_of_its_task(tmp_path: Path) -> None:
    record = RecordedRun(tmp_path, "demo")
    failed = HabitatFailed(errors.StartError("no", where="demo", remedy="do"))
    record.reporter.add_failure(SimpleNamespace(name="start:demo"), failed)
    (error,) = record.lines_of("error")
    assert (error["task"], error["habitat"], error["text"]) == ("start:demo", "demo", "demo: no: do")


def test_jsonl_engine_events_are_written_as_they_come(tmp_path: Path) -> None:
    record = RecordedRun(tmp_path, "demo")
    emit = record.project.bus.emit
    emit(events.Pull("demo", "debian", "Downloading", "abc", 5, 10))
    emit(events.OutputBlock("demo", "setup", ("for the log",), stream="stderr"))
    emit(events.LineBlock("demo", ("one", "two"), "setup"))
    emit(events.CommandBytes("demo", "ä".encode()[:1], is_err=False))
    emit(events.CommandBytes("demo", b"err", is_err=True))
    emit(events.CommandBytes("demo", "ä".encode()[1:] + b"\xff", is_err=False))
    emit(events.CommandBytes("demo", b"\xe2", is_err=False))
    emit(events.CommandEnded("demo", 3, 1.23456))
    bare = [{key: value for key, value in line.items() if key != "time"} for line in record.written.lines[2:]]
    of = {"habitat": "demo"}
    assert bare == [
        {"event": "pull", **of, "image": "debian", "layer": "abc", "status": "Downloading", "done_bytes": 5}
        | {"total_bytes": 10},
        {"event": "output", **of, "phase": "setup", "text": "for the log", "stream": "stderr"},
        {"event": "line", **of, "text": "one", "source": "setup"},
        {"event": "line", **of, "text": "two", "source": "setup"},
        {"event": "command_output", **of, "stream": "stderr", "text": "err"},
        {
            "event": "command_output",
            **of,
            "stream": "stdout",
            "base64": base64.b64encode("ä".encode() + b"\xff").decode(),
        },
        {"event": "command_output", **of, "stream": "stdout", "base64": "4g=="},
        {"event": "command_ended", **of, "exit_code": 3, "seconds": 1.235},
    ]


def test_jsonl_reporter_leaves_console_output_unchanged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    as_ever = ScriptedRun(tmp_path, "demo", goal="base")
    as_ever.runs("demo", "base", reason="r")
    with_records = RecordedRun(tmp_path, "demo", goal="base")
    with_records.runs("demo", "base", reason="r")
    assert capsys.readouterr().out == as_ever.transcript()


# Asking for it


@pytest.mark.parametrize(
    "words", ["-r jsonl", "-rjsonl x", "--reporter jsonl", "--reporter=jsonl", "--bogus -r jsonl x"]
)
def test_jsonl_option_is_recognised_in_any_spelling(words: str) -> None:
    assert option.is_requested(words.split())


@pytest.mark.parametrize("words", ["", "jsonl", "-r json", "-r jsonlines", "exec:x"])
def test_jsonl_option_absent_is_not_recognised(words: str) -> None:
    assert not option.is_requested(words.split())


def test_jsonl_modules_are_loaded_only_on_request() -> None:
    code = """
import sys
from phases.ui import reporter, terminal
from phases.ui.commands import run
print([name for name in sys.modules if name.startswith("phases.ui.jsonl.")])
"""
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout == "['phases.ui.jsonl.option']\n"


def test_jsonl_record_decodes_to_its_type() -> None:
    line = b'{"event": "phase_started", "time": "2026-01-31T12:00:00.000Z", "habitat": "h", "phase": "base", "new": 1}'
    assert msgspec.json.decode(line, type=events.PhaseStarted) == events.PhaseStarted(habitat="h", phase="base")
