"""The transcript of a run, as it is in a pipe: line for line."""

from __future__ import annotations

import io
import re
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from fake_engine import FakeEngine
from msgspec.structs import replace
from unit_helpers import write

from phases.core import events
from phases.core.cache.image_labels import snapshot_tag
from phases.core.cache.stamps import task_name
from phases.core.errors import CommandFailed, ConfigError, EngineUnreachable, HabitatError
from phases.core.origin import Origin
from phases.registry import PHASES, named, phases_of
from phases.ui import tasks
from phases.ui.durations import duration
from phases.ui.reporter import HabitatReporter
from phases.ui.screen import Screen
from phases.ui.tasks import HabitatFailed
from phases.ui.transcript import percent

if TYPE_CHECKING:
    from pathlib import Path


CONFIG = "base_image: debian\nsetup: {root: [make]}\n"


class ScriptedRun:
    """A run as doit and the engine's side tell it, and its transcript. Time stands still."""

    def __init__(self, root: Path, *habitats: str, goal: str = "final", config: str = CONFIG) -> None:
        for name in habitats:
            write(root, f"habitats/{name}/config.yaml", config)
        self.project = tasks.open_project(root)
        self.project.connection._connect = FakeEngine
        self.out = io.StringIO()
        self.reporter = self.reporting()
        self.tasks: dict[str, Any] = {}
        for name in habitats:
            before: list[str] = []
            for phase in phases_of(has_dockerfile=False):
                task = task_name(phase, name)
                self.tasks[task] = SimpleNamespace(name=task, task_dep=before, uptodate=[], options={})
                before = [task]
        self.reporter.initialize(self.tasks, [f"{goal}:{name}" for name in habitats])

    def reporting(self) -> HabitatReporter:
        return HabitatReporter(self.out, {})

    def cached(self, habitat: str, *phases: str) -> None:
        for phase in phases:
            task = self.tasks[f"{phase}:{habitat}"]
            self.reporter.get_status(task)
            self.reporter.skip_uptodate(task)

    def begins(self, habitat: str, phase: str, reason: str = "", error: HabitatError | None = None) -> Any:
        task = self.tasks[f"{phase}:{habitat}"]
        task.uptodate = [(SimpleNamespace(reason=reason, error=error), None, None)]
        self.reporter.get_status(task)
        self.reporter.execute_task(task)
        return task

    def runs(self, habitat: str, phase: str, seconds: float = 0.1, reason: str = "") -> None:
        task = self.begins(habitat, phase, reason)
        self.project.bus.emit(events.PhaseStarted(habitat, phase))
        tag = snapshot_tag(self.project.names.of(habitat), named(phase)) if named(phase).SNAPSHOT else ""
        self.project.bus.emit(events.PhaseFinished(habitat, phase, seconds, tag))
        self.reporter.add_success(task)

    def takes_over(self, habitat: str, other: str, *phases: str) -> None:
        for phase in phases:
            task = self.begins(habitat, phase)
            tag = snapshot_tag(habitat, named(phase))
            self.project.bus.emit(events.PhaseShared(habitat, phase, other, tag, "sha256:1"))
            self.reporter.add_success(task)

    def fails(self, habitat: str, phase: str, error: HabitatError, *, started: bool = True) -> None:
        task = self.begins(habitat, phase, error=None if started else error)
        if started:
            self.project.bus.emit(events.PhaseStarted(habitat, phase))
        self.reporter.add_failure(task, HabitatFailed(error))

    def transcript(self) -> str:
        self.reporter.complete_run()
        return self.out.getvalue()


@pytest.fixture(autouse=True)
def _time_stands_still(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("phases.ui.reporter.time.monotonic", lambda: 0.0)


def test_reporter_partial_build_prints_full_transcript(tmp_path: Path) -> None:
    script = ScriptedRun(tmp_path, "discourse")
    script.cached("discourse", "base", "users", "env", "workdir")
    script.runs("discourse", "habitat", 0.1, "there is no image habitat-discourse:5-habitat")
    script.runs("discourse", "files", 0.5)
    script.runs("discourse", "setup", 135)
    script.runs("discourse", "repos", 45)
    script.runs("discourse", "tools", 30)
    script.runs("discourse", "verify", 1)
    script.runs("discourse", "test", 5)
    script.runs("discourse", "final", 0.1)
    assert (
        script.transcript()
        == """\
🚀 Starting discourse build...
📋 Checking for existing snapshots...

✅ Using snapshot: discourse:4-workdir (phases 1-4 cached)
🔁 habitat runs: there is no image habitat-discourse:5-habitat

[50%] Creating habitat directories...
[50%] ✅ habitat (0.1s) → snapshot: discourse:5-habitat
[58%] Copying files...
[58%] ✅ files (0.5s) → snapshot: discourse:6-files
[66%] Running setup commands...
[66%] ✅ setup (2m 15s) → snapshot: discourse:7-setup
[83%] Installing tools...
[83%] ✅ tools (30s) → snapshot: discourse:9-tools
[95%] ✅ repos, verify, test: nothing to do
[100%] Finalizing...
[100%] ✅ final (0.1s) → snapshot: discourse:12-final

✅ discourse ready in 0.0s (phases 1-4 from cache)
"""
    )


@pytest.mark.parametrize(
    ("entry", "selected", "result"),
    [
        ("ready: {command: 'true', timeout: 1s}", "start", "built"),
        ("init_command: server", "start", "built"),
        ("startup_delay: 1", "start", "built"),
        ("command: bash", "start", "ready"),
        ("ready: {command: 'true', timeout: 1s}", "final", "ready"),
    ],
)
def test_reporter_says_ready_only_where_start_can_not_fail_later(
    tmp_path: Path, entry: str, selected: str, result: str
) -> None:
    script = ScriptedRun(tmp_path, "demo", config=f"base_image: debian\nentry: {{{entry}}}\n")
    script.tasks["start:demo"] = SimpleNamespace(name="start:demo", task_dep=["final:demo"], uptodate=[], options={})
    script.reporter.initialize(script.tasks, [f"{selected}:demo"])
    script.cached("demo", *(phase.NAME for phase in phases_of(has_dockerfile=False)))
    assert script.transcript() == f"✅ demo {result} in 0.0s (phases 1-12 from cache)\n"


def test_reporter_phases_with_nothing_to_do_before_tests_do_not_lower_percentage(tmp_path: Path) -> None:
    write(tmp_path, "habitats/demo/t.sh", "true")
    script = ScriptedRun(tmp_path, "demo", config="base_image: debian\ntests: [t.sh]\n")
    for phase in ("setup", "repos", "tools", "verify", "test", "final"):
        script.runs("demo", phase, 1)
    lines = [line for line in script.transcript().splitlines() if line.startswith("[")]
    percentages = [int(line[1:].partition("%")[0]) for line in lines]
    assert percentages == sorted(percentages)
    assert "[95%] ✅ setup, repos, verify: nothing to do" in lines


def test_reporter_failure_follows_phases_with_nothing_to_do(tmp_path: Path) -> None:
    script = ScriptedRun(tmp_path, "demo", config="base_image: debian\n")
    script.runs("demo", "setup", 0.1)
    script.runs("demo", "repos", 0.1)
    script.fails("demo", "tools", HabitatError("it is broken"))
    lines = script.transcript().splitlines()
    assert lines[lines.index("[83%] Installing tools...") + 1 :][:1] == ["[83%] ✅ setup, repos: nothing to do"]
    assert lines[-1] == "❌ tools:demo: it is broken"


def test_reporter_shared_snapshots_print_one_line_per_source_habitat(tmp_path: Path) -> None:
    script = ScriptedRun(tmp_path, "demo", goal="repos")
    script.takes_over("demo", "a", "base", "users", "env", "workdir", "habitat")
    script.takes_over("demo", "b", "files")
    script.runs("demo", "setup", 3)
    script.takes_over("demo", "b", "repos")
    assert (
        script.transcript()
        == """\
🚀 Starting demo build...
📋 Checking for existing snapshots...

[50%] ♻ base … habitat: shared with a
[58%] ♻ files: shared with b
[66%] Running setup commands...
[66%] ✅ setup (3.0s) → snapshot: demo:7-setup
[75%] ♻ repos: shared with b

✅ demo built up to repos in 0.0s
"""
    )


def test_reporter_shows_snapshots_by_the_name_on_the_engine(tmp_path: Path) -> None:
    write(tmp_path, "shared/config.yaml", "project: shop\n")
    script = ScriptedRun(tmp_path, "demo", goal="users")
    script.cached("demo", "base")
    script.runs("demo", "users", reason="it was forgotten")
    lines = script.transcript().splitlines()
    assert "✅ Using snapshot: shop.demo:1-base (phase 1 cached)" in lines
    assert "[25%] ✅ users (0.1s) → snapshot: shop.demo:2-users" in lines


def test_reporter_cached_run_prints_one_line(tmp_path: Path) -> None:
    script = ScriptedRun(tmp_path, "demo")
    script.cached("demo", *(phase.NAME for phase in PHASES[1:]))
    assert script.transcript() == "✅ demo ready in 0.0s (phases 1-12 from cache)\n"


def test_reporter_run_up_to_phase_says_so(tmp_path: Path) -> None:
    script = ScriptedRun(tmp_path, "demo", goal="users")
    script.cached("demo", "base")
    script.runs("demo", "users", reason="it was forgotten")
    assert (
        script.transcript()
        == """\
🚀 Starting demo build...
📋 Checking for existing snapshots...

✅ Using snapshot: demo:1-base (phase 1 cached)
🔁 users runs: it was forgotten

[25%] Creating users...
[25%] ✅ users (0.1s) → snapshot: demo:2-users

✅ demo built up to users in 0.0s (phase 1 from cache)
"""
    )


def test_reporter_several_habitats_prefix_each_line_with_name(tmp_path: Path) -> None:
    script = ScriptedRun(tmp_path, "a", "long-name", goal="base")
    script.runs("a", "base", reason="r")
    script.cached("long-name", "base")
    assert (
        script.transcript()
        == """\
a         │ 🚀 Starting a build...
a         │ 📋 Checking for existing snapshots...
a         │ 🔁 base runs: r
a         │ [16%] Setting the base image...
a         │ [16%] ✅ base (0.1s) → snapshot: a:1-base
a         │ ✅ a built up to base in 0.0s
long-name │ ✅ long-name built up to base in 0.0s (phase 1 from cache)
"""
    )


def test_reporter_failed_phase_prints_output_then_one_line(tmp_path: Path) -> None:
    script = ScriptedRun(tmp_path, "demo", goal="setup")
    script.cached("demo", "base", "users", "env", "workdir", "habitat", "files")
    error = CommandFailed(
        "setup command 1 of 1 ended with exit code 3",
        exit_code=3,
        where=Origin("local", "habitats/demo/config.yaml", 7),
        remedy="fix it",
        output=["$ make", "\tno rule [bold]x[/bold] :smile:"],
    )
    script.fails("demo", "setup", error)
    assert script.transcript().splitlines()[5:] == [
        "[66%] Running setup commands...",
        "[66%] ❌ setup (0.0s)",
        "    $ make",
        "            no rule [bold]x[/bold] :smile:",
        "❌ setup:demo: habitats/demo/config.yaml:7: setup command 1 of 1 ended with exit code 3: fix it",
    ]


def test_reporter_broken_config_prints_one_line(tmp_path: Path) -> None:
    script = ScriptedRun(tmp_path, "demo")
    write(tmp_path, "habitats/demo/config.yaml", "nonsense: 1\n")
    error = ConfigError("unknown key 'nonsense'", where="habitats/demo/config.yaml:1", remedy="known here: …")
    script.fails("demo", "base", error, started=False)
    assert script.transcript() == ("❌ habitats/demo/config.yaml:1: unknown key 'nonsense': known here: …\n")


def test_reporter_prints_all_errors_of_broken_config(tmp_path: Path) -> None:
    script = ScriptedRun(tmp_path, "demo", "other")
    write(tmp_path, "habitats/demo/config.yaml", "nonsense: 1\nfiles: 2\n")
    error = ConfigError("unknown key 'nonsense'", where="habitats/demo/config.yaml:1")
    error.others = (ConfigError("files is wrong", where="habitats/demo/config.yaml:2"),)
    script.fails("demo", "base", error, started=False)
    script.runs("other", "final")
    assert script.transcript().splitlines()[:2] == [
        "demo  │ ❌ habitats/demo/config.yaml:1: unknown key 'nonsense'",
        "demo  │ ❌ habitats/demo/config.yaml:2: files is wrong",
    ]


def test_reporter_same_error_of_several_habitats_is_printed_once(tmp_path: Path) -> None:
    script = ScriptedRun(tmp_path, "a", "b")
    for name in ("a", "b"):
        script.fails(name, "base", EngineUnreachable("no Docker engine answers"), started=False)
    assert script.transcript().count("no Docker engine answers") == 1


def test_reporter_program_fault_prints_traceback_and_says_so(tmp_path: Path) -> None:
    script = ScriptedRun(tmp_path, "demo")
    task = script.begins("demo", "base")
    script.reporter.add_failure(task, SimpleNamespace(get_msg=lambda: "Traceback …\nKeyError: 'x'\n"))
    lines = script.transcript().splitlines()
    assert "base:demo: Traceback …" in lines
    assert lines[-1].startswith("This is a bug of the program")


def test_reporter_prints_output_marked_for_display_only(tmp_path: Path) -> None:
    script = ScriptedRun(tmp_path, "demo", goal="base")
    script.begins("demo", "base")
    before = len(script.transcript())
    emit = script.project.bus.emit
    emit(events.OutputBlock("demo", "base", ("for the log",)))
    emit(events.LineBlock("demo", ("one", "of\ttwo"), "base"))
    emit(events.Output("demo", "base", "[red]for the\teye[/red]"))
    emit(events.Pull("demo", "debian", "Downloading", "abc", 5, 10))
    emit(events.Pull("demo", "debian", "Pull complete", "abc"))
    emit(events.Pull("demo", "debian", "Digest: sha256:1"))
    emit(events.Notice("demo", "a note"))
    emit(events.Notice("", "a warning", warning=True))
    assert (
        script.transcript()[before:]
        == """\
one
of      two
    [red]for the    eye[/red]
    abc Pull complete
    Digest: sha256:1
• a note
⚠ a warning
"""
    )


def test_reporter_wait_in_pipe_prints_begin_and_end(tmp_path: Path) -> None:
    script = ScriptedRun(tmp_path, "demo", goal="base")
    waiting = events.Waiting("demo", "curl localhost", 90)
    emit = script.project.bus.emit
    emit(waiting)
    emit(replace(waiting, said="refused"))
    emit(replace(waiting, said="refused again"))
    emit(events.Waited("demo"))
    emit(events.Notice("demo", "ready after 3.0s"))
    assert script.transcript() == ("• waiting until it is ready, 1m 30s at most: curl localhost\n• ready after 3.0s\n")


def test_reporter_wait_on_terminal_is_one_live_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = ScriptedRun(tmp_path, "demo", goal="base")
    lines: list[tuple[str, ...]] = []
    monkeypatch.setattr(script.reporter.transcript.screen, "live", True)
    for method in ("begin", "note", "end"):
        monkeypatch.setattr(
            script.reporter.transcript.screen, method, lambda *args, method=method: lines.append((method, *args))
        )
    waiting = events.Waiting("demo", "curl localhost", 90)
    for event in (waiting, replace(waiting, said="refused"), events.Waited("demo")):
        script.project.bus.emit(event)
    assert lines == [
        ("begin", "demo", "demo: waiting until it is ready"),
        ("note", "demo", "curl localhost"),
        ("note", "demo", "refused"),
        ("end", "demo"),
    ]
    assert script.transcript() == ""


def test_reporter_in_pipe_neither_cuts_nor_colours_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    monkeypatch.setenv("TERM", "xterm-256color")
    script = ScriptedRun(tmp_path, "demo", goal="base")
    script.runs("demo", "base", reason="x" * 300)
    transcript = script.transcript()
    assert "x" * 300 in transcript
    assert "\x1b" not in transcript
    assert "\r" not in transcript


def test_reporter_percentages_grow_to_100(tmp_path: Path) -> None:
    script = ScriptedRun(tmp_path, "demo")
    for phase in PHASES[1:]:
        script.runs("demo", phase.NAME)
    shown = [int(number) for number in re.findall(r"^\[(\d+)%\]", script.transcript(), flags=re.MULTILINE)]
    assert shown == sorted(shown)
    assert shown[-1] == 100
    assert all(number < 100 for number in shown[:-2])
    assert [percent(phase) for phase in PHASES] == [8, 16, 25, 33, 41, 50, 58, 66, 75, 83, 91, 95, 100]


def test_screen_on_ascii_stream_replaces_unknown_characters(tmp_path: Path) -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    Screen(stream).plain("✅ done")
    assert raw.getvalue() == b"? done\n"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0s"),
        (0.04, "0.0s"),
        (0.1, "0.1s"),
        (9.94, "9.9s"),
        (9.96, "10s"),
        (45, "45s"),
        (59.4, "59s"),
        (59.6, "1m 00s"),
        (135, "2m 15s"),
        (3599.6, "1h 00m"),
        (3720, "1h 02m"),
        (90000, "25h 00m"),
    ],
)
def test_duration_is_printed_in_readable_units(seconds: float, text: str) -> None:
    assert duration(seconds) == text
