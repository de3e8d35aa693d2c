"""doit's reporter of `-r jsonl`: writes the events of doit and of core as lines of JSON."""

from __future__ import annotations

import base64
import codecs
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from msgspec import structs

from phases.core import events
from phases.core.errors import HabitatError, without_credentials
from phases.core.events.json_event import JsonEvent
from phases.core.problems import errors_of
from phases.core.report import plan as report_plan
from phases.registry import named
from phases.ui.jsonl import records
from phases.ui.jsonl.writer import error_fields, error_record
from phases.ui.reporter import HabitatReporter, closure
from phases.ui.tasks import HabitatFailed, current_project, parse_task, phase_named

if TYPE_CHECKING:
    from collections.abc import Iterator

    from phases.core.events import Plan, Reason
    from phases.protocol import Phase
    from phases.ui.jsonl.writer import JsonlWriter
    from phases.ui.transcript import BuildProgress


class JsonlReporter(HabitatReporter):
    """Writes a line of JSON before the transcript, on stderr, says the same."""

    def __init__(self, writer: JsonlWriter, options: dict[str, Any]) -> None:
        self._writer = writer
        self._decoders: dict[tuple[str, bool], OutputDecoder] = {}
        super().__init__(sys.stdout, options)

    # Called by doit

    def initialize(self, tasks: dict[str, Any], selected_tasks: list[str]) -> None:
        super().initialize(tasks, selected_tasks)
        if self._writer.is_terminal:
            self.transcript.screen.live = False  # lines of JSON would be written into the live ones
        wanted = closure(tasks, selected_tasks)
        tasks_of: dict[str, list[str]] = {}
        for task in tasks:
            if task in wanted and (name := parse_task(task)[1]):
                tasks_of.setdefault(name, []).append(task)
        for name, own in tasks_of.items():
            goal = self.builds[name].goal.NAME if name in self.builds else ""
            self._writer.write(records.HabitatSelected(habitat=name, tasks=own, phase=goal))

    def skip_uptodate(self, task: Any) -> None:
        kind, name = parse_task(task.name)
        if phase_named(kind):
            self._writer.write(records.PhaseUpToDate(habitat=name, phase=kind))
        super().skip_uptodate(task)

    def skip_ignore(self, task: Any) -> None:
        self._write_skipped(task, "it is ignored")
        super().skip_ignore(task)

    def add_failure(self, task: Any, fail: Any) -> None:
        kind, name = parse_task(task.name)
        build = self.builds.get(name)
        if type(fail).__name__ == "UnmetDependency":
            self._write_skipped(task, f"it needs {fail.message}")
        elif not isinstance(fail, HabitatFailed):
            self._writer.write(error_record(RuntimeError(fail.get_msg()), habitat=name, task=task.name))
        elif build and build.running and build.running is phase_named(kind):
            self._writer.write(_phase_failed(build, build.running, fail.error))
        else:
            for error in errors_of(fail.error):
                self._writer.write(error_record(error, habitat=name, task=task.name))
        super().add_failure(task, fail)

    def cleanup_error(self, exception: Any) -> None:
        self._writer.write(error_record(RuntimeError(exception.get_msg())))
        super().cleanup_error(exception)

    def runtime_error(self, msg: str) -> None:
        self._writer.write(error_record(RuntimeError(msg)))
        super().runtime_error(msg)

    def _write_skipped(self, task: Any, reason: str) -> None:
        kind, name = parse_task(task.name)
        phase = kind if phase_named(kind) else ""
        self._writer.write(records.TaskSkipped(task=task.name, reason=reason, habitat=name, phase=phase))

    # Called by the project's bus

    def on_event(self, event: events.Event) -> None:
        for record in self._records(event):
            self._writer.write(record)
        super().on_event(event)

    def _records(self, event: events.Event) -> Iterator[JsonEvent]:
        match event:
            case events.CommandBytes(habitat, data, is_err):
                yield from self._command_output(habitat, data, is_err=is_err)
            case events.CommandEnded():
                for is_err in (False, True):
                    yield from self._command_output(event.habitat, b"", is_err=is_err, final=True)
                yield _rounded(event)
            case events.PhaseFinished():
                yield _rounded(event)
            case JsonEvent():
                yield event
            case _:
                yield from _converted(event)

    def _command_output(self, habitat: str, data: bytes, *, is_err: bool, final: bool = False) -> Iterator[JsonEvent]:
        decoder = self._decoders.setdefault((habitat, is_err), OutputDecoder())
        if fields := decoder.feed(data, final=final):
            yield records.CommandOutput(habitat=habitat, stream="stderr" if is_err else "stdout", **fields)

    # Called by HabitatReporter, with a line of the transcript

    def _announce(self, build: BuildProgress, first: Phase, reason: str) -> None:
        with suppress(HabitatError):  # the build meets the same error, and reports it
            plan = report_plan.plan(current_project(), build.name)
            self._writer.write(_planned(plan, build.goal))
        super()._announce(build, first, reason)

    def _ready(self, build: BuildProgress) -> None:
        seconds = round(time.monotonic() - build.started, 3)
        self._writer.write(records.HabitatReady(habitat=build.name, phase=build.goal.NAME, seconds=seconds))
        super()._ready(build)


class OutputDecoder:
    """Decodes a command's output, of which a chunk may end within a sign."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")()

    def feed(self, data: bytes, *, final: bool = False) -> dict[str, str]:
        """Return the field `text`, or `base64` for what is not UTF-8; none before a sign is complete."""
        held, _ = self._decoder.getstate()
        try:
            text = self._decoder.decode(data, final)
        except UnicodeDecodeError:
            self._decoder.reset()
            return {"base64": base64.b64encode(held + data).decode()}
        return {"text": text} if text else {}


def _converted(event: events.Event) -> Iterator[JsonEvent]:
    """Yield the lines of an event that has another form for programs, none for one that is only for people."""
    match event:
        case events.Notice(habitat, text, warning):
            yield records.NoticeLine(text=text, warning=warning, habitat=habitat)
        case events.OutputBlock(habitat, phase, lines, stream):
            for line in lines:
                yield events.Output(habitat, phase, line, stream)
        case events.LineBlock(habitat, lines, source):
            for line in lines:
                yield events.Line(habitat, line, source)
        case events.Planned(_, plan):
            yield _planned(plan)


def _rounded(event: events.PhaseFinished | events.CommandEnded) -> JsonEvent:
    return structs.replace(event, seconds=round(event.seconds, 3))


def _planned(plan: Plan, goal: Phase | None = None) -> records.BuildPlanned:
    """Return the line of a plan, up to the phase `goal`."""
    phases = [
        records.PhasePlan(
            phase=phase,
            reasons=[_reason(reason) for reason in reasons],
            seconds=plan.seconds.get(phase),
            shared_with=plan.shared.get(phase, ""),
        )
        for phase, reasons in plan.why.items()
        if goal is None or named(phase).ID <= goal.ID
    ]
    return records.BuildPlanned(
        habitat=plan.name,
        phases=phases,
        is_new=plan.is_new,
        replaced=plan.replaced,
        lacks=plan.lacks,
        keeps_files=bool(plan.kept),
    )


def _reason(reason: Reason) -> Reason:
    before, after = map(_without_credentials, (reason.before, reason.after))
    return structs.replace(reason, before=before, after=after)


def _without_credentials(value: Any) -> Any:
    """Return a value of a config, without a password or a token in its URLs."""
    match value:
        case str():
            return without_credentials(value)
        case list():
            return [_without_credentials(element) for element in value]
        case dict():
            return {name: _without_credentials(element) for name, element in value.items()}
    return value


def _phase_failed(build: BuildProgress, phase: Phase, fault: HabitatError) -> records.PhaseFailed:
    project = current_project()
    path = project.log_path(build.name, phase)
    log = str(path.relative_to(project.root)) if path.exists() else ""
    fields = error_fields(fault)
    fields["remedy"] = fields["remedy"].replace(f"; log: {log}", "")  # the log is a field of its own
    return records.PhaseFailed(
        habitat=build.name,
        phase=phase.NAME,
        seconds=round(time.monotonic() - build.since, 3),
        exit_code=getattr(fault, "exit_code", None),
        output=list(fault.output),
        log=log,
        **fields,
    )
