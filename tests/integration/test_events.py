"""`doit -r jsonl`, as a program reads it: every line of real runs is an event of the schema."""

from __future__ import annotations

import base64
import json
import signal
import subprocess
import sys
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pytest
from conftest import ROOT, Project, clear, docker, fresh_name, inspect, wait_until
from jsonschema import Draft202012Validator
from terminal import Terminal

from phases.registry import NAMES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from phases.core.engine.docker_api.client import DockerEngine

pytestmark = pytest.mark.engine

SCHEMA = Draft202012Validator(json.loads((ROOT / "docs" / "events.schema.json").read_text()))
PHASES = NAMES[1:]  # without a Dockerfile

Event = dict[str, Any]


def parsed(out: bytes) -> list[Event]:
    """The events of a whole run: all valid, framed by its begin and its end."""
    assert out.endswith(b"\n")
    actual: list[Event] = [json.loads(line) for line in out.decode("ascii").split("\n")[:-1]]
    for event in actual:
        SCHEMA.validate(event)
    names = [event["event"] for event in actual]
    assert (names[0], names[-1]) == ("run_started", "run_ended")
    assert names.count("run_started") == names.count("run_ended") == 1
    return actual


@dataclass
class JsonlRun:
    """A `doit -r jsonl ARGS` that ended. people: what was on stderr."""

    code: int
    out: bytes
    people: str

    @cached_property
    def events(self) -> list[Event]:
        actual = parsed(self.out)
        assert actual[-1]["exit_code"] == self.code
        return actual

    def events_named(self, *names: str) -> list[Event]:
        return [event for event in self.events if event["event"] in names]

    def printed(self, stream: str) -> bytes:
        """What a command printed, put together."""
        parts = [event for event in self.events_named("command_output") if event["stream"] == stream]
        return b"".join(base64.b64decode(e["base64"]) if "base64" in e else e["text"].encode() for e in parts)


def recorded(project: Project, *args: str, put: bytes = b"") -> JsonlRun:
    argv = (sys.executable, "-m", "doit", "-r", "jsonl", *args)
    result = subprocess.run(argv, cwd=project.root, input=put, capture_output=True, timeout=120, check=False)
    return JsonlRun(result.returncode, result.stdout, result.stderr.decode())


@dataclass
class BuiltHabitat:
    """A project with a habitat that is built once. first: what that told."""

    project: Project
    name: str
    config: str
    first: JsonlRun

    def doit(self, verb: str, *args: str, put: bytes = b"") -> JsonlRun:
        return recorded(self.project, f"{verb}:{self.name}", *args, put=put)


CONFIG = r"""
base_image: {image}
env:
  - COLOUR=red
secrets:
  - {{name: T, command: echo s3cret-word, phases: [setup], start: true, variable: T}}
setup:
  root:
    - printf 'out %s \377 \033[31m\n' "$T"; echo err >&2
entry:
  command: printf 'h\303'; sleep 0.1; printf '\244 %s\n' "$$T"; cat; exit 3
"""


@pytest.fixture(scope="module")
def built_habitat(
    engine: DockerEngine, busybox: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[BuiltHabitat]:
    project, name = Project(tmp_path_factory.mktemp("read")), fresh_name()
    config = CONFIG.format(image=busybox)
    project.habitat(name, config)
    yield BuiltHabitat(project, name, config, recorded(project, f"final:{name}"))
    clear(engine, name)


@pytest.fixture
def habitat(built_habitat: BuiltHabitat) -> Iterator[BuiltHabitat]:
    """The habitat as it was built."""
    yield built_habitat
    built_habitat.project.habitat(built_habitat.name, built_habitat.config)


# Builds


def test_jsonl_build_can_be_followed_from_events_alone(built_habitat: BuiltHabitat) -> None:
    run = built_habitat.first
    assert run.code == 0, run.people
    (selected,) = run.events_named("habitat_selected")
    assert (selected["phase"], selected["tasks"]) == ("final", [f"{phase}:{built_habitat.name}" for phase in PHASES])
    (plan,) = run.events_named("build_planned")
    assert plan["is_new"]
    assert [phase["phase"] for phase in plan["phases"]] == list(PHASES)
    framed = [(e["event"], e["phase"]) for e in run.events_named("phase_started", "phase_finished")]
    assert framed == [(what, phase) for phase in PHASES for what in ("phase_started", "phase_finished")]
    setup = next(event for event in run.events_named("phase_finished") if event["phase"] == "setup")
    assert (setup["snapshot"], setup["image"]) == (
        f"habitat-{built_habitat.name}:7-setup",
        inspect(f"habitat-{built_habitat.name}:7-setup")["Id"],
    )
    assert {(e["stream"], e["text"]) for e in run.events_named("output") if e["phase"] == "setup"} == {
        ("stdout", "out *** � \x1b[31m"),
        ("stderr", "err"),
    }
    assert [event["phase"] for event in run.events_named("habitat_ready")] == ["final"]
    assert run.events[-1]["counts"]["phases_finished"] == len(PHASES)


def test_jsonl_run_prints_usual_transcript_on_stderr(built_habitat: BuiltHabitat) -> None:
    assert f"✅ {built_habitat.name} ready in " in built_habitat.first.people
    assert "s3cret-word" not in built_habitat.first.people + built_habitat.first.out.decode()


def test_jsonl_cached_run_reports_phases_up_to_date(habitat: BuiltHabitat) -> None:
    run = habitat.doit("final")
    assert [event["event"] for event in run.events[2:-2]] == ["phase_up_to_date"] * len(PHASES)
    assert run.events[-1]["counts"]["phases_up_to_date"] == len(PHASES)


def test_jsonl_plan_and_build_report_same_reasons(habitat: BuiltHabitat) -> None:
    habitat.project.habitat(habitat.name, habitat.config.replace("COLOUR=red", "COLOUR=green"))
    planned = habitat.doit("plan")
    assert planned.code == 1
    (plan,) = planned.events_named("build_planned")
    reason = {"text": "env.COLOUR: red → green", "key": "env.COLOUR", "before": "red", "after": "green"}
    assert plan["phases"][0]["reasons"] == [reason]
    assert f"  env  {reason['text']}" in planned.people
    run = habitat.doit("env")
    (build,) = run.events_named("build_planned")
    assert [(phase["phase"], phase["reasons"]) for phase in build["phases"]] == [("env", [reason])]


@pytest.mark.guarantee("jsonl-last-event-tells-end")
def test_jsonl_failed_phase_has_details_and_later_tasks_are_skipped(habitat: BuiltHabitat) -> None:
    habitat.project.habitat(habitat.name, habitat.config.replace("echo err >&2", "echo bad >&2; exit 4"))
    run = habitat.doit("start")
    assert run.code == 2
    (failed,) = run.events_named("phase_failed")
    assert (failed["phase"], failed["kind"], failed["exit_code"]) == ("setup", "command", 4)
    assert "bad" in failed["output"]
    assert (failed["where"], failed["remedy"]) == (
        f"habitats/{habitat.name}/config.yaml:9",
        f"fix it, then run the same command; `doit debug:{habitat.name}` opens a shell there",
    )
    assert "bad\n" in (habitat.project.root / failed["log"]).read_text()
    assert [event["task"] for event in run.events_named("task_skipped")][-1] == f"start:{habitat.name}"


@pytest.mark.guarantee("jsonl-last-event-tells-end")
def test_jsonl_run_ended_by_signal_reports_signal_in_last_line(habitat: BuiltHabitat) -> None:
    habitat.project.habitat(habitat.name, habitat.config.replace("echo err >&2", "echo going on >&2; sleep 60"))
    out = habitat.project.root / "events"
    argv = (sys.executable, "-m", "doit", "-r", "jsonl", f"start:{habitat.name}")
    with out.open("wb") as stream:
        process = subprocess.Popen(argv, cwd=habitat.project.root, stdout=stream, stderr=subprocess.PIPE)
    wait_until(lambda: b'"text": "going on"' in out.read_bytes())
    process.send_signal(signal.SIGINT)
    _, people = process.communicate(timeout=60)
    last_events = parsed(out.read_bytes())[-1]
    assert (process.returncode, last_events["exit_code"], last_events["signal"]) == (130, 130, "SIGINT")
    assert last_events["at"] == [f"setup:{habitat.name}"]
    assert f"stopped in setup:{habitat.name}: " in people.decode()


@pytest.mark.guarantee("jsonl-lines-are-events")
def test_jsonl_parallel_habitats_write_whole_lines(engine: DockerEngine, busybox: str, tmp_path: Path) -> None:
    project, names = Project(tmp_path), [fresh_name() for _ in range(3)]
    for name in names:
        config = f"base_image: {busybox}\nenv:\n  - USER=root\nsetup: {{root: ['seq 1000 1999']}}\n"
        project.habitat(name, config)
    try:
        run = recorded(project, "-n", "3", "-P", "thread", *(f"setup:{name}" for name in names))
        assert run.code == 0, run.people
        for name in names:
            event_texts = [event["text"] for event in run.events_named("output") if event["habitat"] == name]
            assert event_texts == [str(number) for number in range(1000, 2000)]
    finally:
        for name in names:
            clear(engine, name)


# Being in it


def test_jsonl_start_is_reported_until_command_ends(habitat: BuiltHabitat) -> None:
    run = habitat.doit("start", put=b"not for it")
    assert run.code == 3
    event_texts = [event["event"] for event in run.events if event["event"] != "command_output"]
    assert event_texts[event_texts.index("habitat_ready") :] == [
        "habitat_ready",
        "container_up",
        "command_started",
        "command_ended",
        "container_stopped",
        "error",
        "run_ended",
    ]
    assert run.printed("stdout") == "hä ***\n".encode()
    (last_events,) = run.events_named("command_ended")
    assert last_events["exit_code"] == 3
    assert "hä" not in run.people


@pytest.mark.guarantee("jsonl-output-joins-unchanged")
def test_jsonl_exec_output_is_byte_exact_and_exit_code_is_returned(habitat: BuiltHabitat) -> None:
    put = bytes(range(256)) * 1000 + "ä😀\n".encode() * 1000
    run = habitat.doit("exec", "--", "sh", "-c", "cat; echo err >&2; exit 7", put=put)
    assert (run.code, run.printed("stdout"), run.printed("stderr")) == (7, put, b"err\n")
    (started,) = run.events_named("command_started")
    assert (started["argv"], started["user"]) == (["sh", "-c", "cat; echo err >&2; exit 7"], "agent")
    assert run.people == ""


def test_jsonl_exec_on_terminal_runs_without_tty(habitat: BuiltHabitat) -> None:
    with Terminal(
        habitat.project, "-r", "jsonl", f"exec:{habitat.name}", "--", "sh", "-c", "test -t 1 || echo no tty"
    ) as it:
        assert it.end() == 0
        lines = [line for line in it.shown.splitlines() if line.startswith("{")]
    assert any(json.loads(line).get("text") == "no tty\n" for line in lines)
    assert json.loads(lines[-1])["event"] == "run_ended"


def test_jsonl_detached_container_logs_and_stop_are_reported(habitat: BuiltHabitat) -> None:
    up = habitat.doit("start", "--detach")
    (container,) = up.events_named("container_up")
    assert container["id"] == docker("container", "inspect", "--format", "{{.Id}}", f"habitat-{habitat.name}")
    logs = habitat.doit("logs", "--phase", "setup")
    assert {(line["source"], line["text"]) for line in logs.events_named("line")} >= {("setup", "err")}
    stopped = habitat.doit("stop")
    assert [event["container"] for event in stopped.events_named("container_stopped")] == [f"habitat-{habitat.name}"]
    destroyed = habitat.doit("destroy")
    assert destroyed.events_named("error")[0]["remedy"] == f"`doit destroy:{habitat.name} --yes` removes them"
    assert habitat.doit("destroy", "--yes").code == 0


# Whatever happens


@pytest.mark.guarantee("jsonl-last-event-tells-end")
def test_jsonl_broken_config_and_usage_errors_are_events(project: Project, name: str) -> None:
    project.habitat(name, "base_image: b\nnonsense: 1\n")
    broken = recorded(project, f"final:{name}")
    (error,) = broken.events_named("error")
    assert (error["kind"], error["where"], error["habitat"]) == ("config", f"habitats/{name}/config.yaml:2", name)
    for args, output in (
        (["start:nosuch"], "there is no task 'start:nosuch': "),
        (["--bogus"], "option --bogus not recognized: `doit help run` lists the options"),
        ([f"start:{name}", "--frce"], "option --frce not recognized: `doit help start` lists the options"),
    ):
        run = recorded(project, *args)
        (error,) = run.events_named("error")
        assert (run.code, error["kind"], error["text"].startswith(output)) == (3, "usage", True), error
        assert run.people.startswith(f"ERROR: {output}")


def test_jsonl_closed_reader_or_full_disk_ends_run_with_error(project: Project, name: str) -> None:
    project.habitat(name, "base_image: b\n")
    argv = f"{sys.executable} -m doit -r jsonl plan:{name}"
    gone = project.run("bash", "-c", f"{argv} | true; echo ${{PIPESTATUS[0]}}")
    assert gone.out == "1\n"
    full = project.run("bash", "-c", f"{argv} >/dev/full")
    assert (full.code, full.out) == (1, "ERROR: the output can't be written: No space left on device\n")
    closed = project.run("bash", "-c", f"{argv} >&-")
    assert (closed.code, closed.out) == (1, "ERROR: the output can't be written: it is closed\n")


def test_jsonl_output_option_writes_events_to_file(habitat: BuiltHabitat) -> None:
    result = habitat.project.doit("-r", "jsonl", "-o", "run.jsonl", f"exec:{habitat.name}", "--", "echo", "hello")
    assert (result.code, result.out) == (0, "hello\n")
    events = parsed((habitat.project.root / "run.jsonl").read_bytes())
    assert "command_ended" in [event["event"] for event in events]
    refused = habitat.project.doit("-r", "jsonl", "-o", "no/such/file", f"plan:{habitat.name}")
    expected = "ERROR: no/such/file can't be written (No such file or directory): name another file with -o\n"
    assert (refused.code, refused.out) == (3, expected)
