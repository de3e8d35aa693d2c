"""A run as records for a program: what doit, and the engine's side, tell the transcript of a run too."""

from __future__ import annotations

import base64
import codecs
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from msgspec import UNSET

from phases.core import events
from phases.core.errors import HabitatError, without_credentials
from phases.core.report import plan as report_plan
from phases.registry import named
from phases.ui import journal as journals
from phases.ui import records
from phases.ui.reporter import HabitatReporter, closure
from phases.ui.tasks import HabitatFailed, current_project, parse_task, phase_named

if TYPE_CHECKING:
    from collections.abc import Iterator

    from phases.core.events import Plan, Reason
    from phases.protocol import Phase
    from phases.ui.journal import Journal
    from phases.ui.records import Record
    from phases.ui.reporter import Build


class Recorder(HabitatReporter):
    """doit's reporter for a program. A record is written before the line that says the same to a person."""

    def __init__(self, journal: Journal, options: dict[str, Any]) -> None:
        self._journal = journal
        self._printed: dict[tuple[str, bool], Printed] = {}
        super().__init__(sys.stdout, options)

    # From doit

    def initialize(self, tasks: dict[str, Any], selected_tasks: list[str]) -> None:
        super().initialize(tasks, selected_tasks)
        if self._journal.is_terminal:
            self.screen.live = False  # lines would be written across it
        wanted = closure(tasks, selected_tasks)
        of: dict[str, list[str]] = {}
        for task in tasks:
            if task in wanted and (name := parse_task(task)[1]):
                of.setdefault(name, []).append(task)
        for name, own in of.items():
            goal = self.builds[name].goal.NAME if name in self.builds else ""
            self._journal.write(records.HabitatSelected(habitat=name, tasks=own, phase=goal))

    def skip_uptodate(self, task: Any) -> None:
        kind, name = parse_task(task.name)
        if phase_named(kind):
            self._journal.write(records.PhaseUpToDate(habitat=name, phase=kind))
        super().skip_uptodate(task)

    def skip_ignore(self, task: Any) -> None:
        self._skipped(task, "it is ignored (doit ignore)")
        super().skip_ignore(task)

    def add_failure(self, task: Any, fail: Any) -> None:
        kind, name = parse_task(task.name)
        build = self.builds.get(name)
        if type(fail).__name__ == "UnmetDependency":
            self._skipped(task, f"it needs {fail.message}")
        elif not isinstance(fail, HabitatFailed):
            self._journal.write(journals.error(RuntimeError(fail.get_msg()), habitat=name, task=task.name))
        elif build and build.running and build.running is phase_named(kind):
            self._journal.write(_phase_failed(build, build.running, fail.error))
        else:
            self._journal.write(journals.error(fail.error, habitat=name, task=task.name))
        super().add_failure(task, fail)

    def cleanup_error(self, exception: Any) -> None:
        self._journal.write(journals.error(RuntimeError(exception.get_msg())))
        super().cleanup_error(exception)

    def runtime_error(self, msg: str) -> None:
        self._journal.write(journals.error(RuntimeError(msg)))
        super().runtime_error(msg)

    def _skipped(self, task: Any, why: str) -> None:
        kind, name = parse_task(task.name)
        phase = kind if phase_named(kind) else ""
        self._journal.write(records.TaskSkipped(task=task.name, reason=why, habitat=name, phase=phase))

    # From the engine's side

    def on_event(self, event: events.Event) -> None:
        for record in self._recorded(event):
            self._journal.write(record)
        super().on_event(event)

    def _recorded(self, event: events.Event) -> Iterator[Record]:
        if isinstance(event, events.CommandOutput):
            yield from self._output(event.habitat, event.data, is_err=event.is_err)
        elif isinstance(event, events.CommandEnded):
            for is_err in (False, True):
                yield from self._output(event.habitat, b"", is_err=is_err, final=True)
        elif isinstance(event, events.OutputBlock):
            for line in event.lines:
                yield records.Output(habitat=event.habitat, phase=event.phase, text=line, stream=event.stream)
        if record := _record(event):
            yield record

    def _output(self, habitat: str, data: bytes, *, is_err: bool, final: bool = False) -> Iterator[Record]:
        printed = self._printed.setdefault((habitat, is_err), Printed())
        if shown := printed.feed(data, final=final):
            yield records.CommandOutput(habitat=habitat, stream="stderr" if is_err else "stdout", **shown)

    # Of what becomes a line for a person

    def _announce(self, build: Build, first: Phase, reason: str) -> None:
        with suppress(HabitatError):  # what can't be told of is met when it is built
            plan = report_plan.plan(current_project(), build.name)
            self._journal.write(_planned(plan, build.goal))
        super()._announce(build, first, reason)

    def _ready(self, build: Build) -> None:
        seconds = round(time.monotonic() - build.started, 3)
        self._journal.write(records.HabitatReady(habitat=build.name, phase=build.goal.NAME, seconds=seconds))
        super()._ready(build)


class Printed:
    """A command's output, as text where it is that."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")()

    def feed(self, data: bytes, *, final: bool = False) -> dict[str, str]:
        """As `text` or `base64`, or nothing yet: a sign may have come in part."""
        held, _ = self._decoder.getstate()
        try:
            text = self._decoder.decode(data, final)
        except UnicodeDecodeError:
            self._decoder.reset()
            return {"base64": base64.b64encode(held + data).decode()}
        return {"text": text} if text else {}


# What is told as it is: a record's fields are the event's.
_SAME: dict[type, type[Record]] = {
    events.PhaseStarted: records.PhaseStarted,
    events.PhaseFinished: records.PhaseFinished,
    events.PhaseShared: records.PhaseShared,
    events.Notice: records.Notice,
    events.Line: records.Line,
    events.ContainerUp: records.ContainerUp,
    events.ContainerStopped: records.ContainerStopped,
    events.CommandStarted: records.CommandStarted,
    events.CommandEnded: records.CommandEnded,
}


def _record(event: events.Event) -> Record | None:
    if kind := _SAME.get(type(event)):
        values = {name: getattr(event, name) for name in kind.__struct_fields__}
        return kind(**{name: round(value, 3) if isinstance(value, float) else value for name, value in values.items()})
    match event:
        case events.Output(habitat, phase, line, _, stream):
            return records.Output(habitat=habitat, phase=phase, text=line, stream=stream)
        case events.Pulled(habitat, image, layer, status, done, total):
            return records.Pull(
                habitat=habitat, image=image, layer=layer, status=status, done_bytes=done, total_bytes=total
            )
        case events.Planned(_, plan):
            return _planned(plan)
    return None


def _planned(plan: Plan, goal: Phase | None = None) -> records.BuildPlanned:
    """goal: the last phase that is asked for."""
    phases = [
        records.PhasePlan(
            phase=phase,
            reasons=[_reason(reason) for reason in why],
            seconds=plan.seconds.get(phase),
            shared_with=plan.shared.get(phase, ""),
        )
        for phase, why in plan.why.items()
        if goal is None or named(phase).ID <= goal.ID
    ]
    return records.BuildPlanned(habitat=plan.name, phases=phases, is_new=plan.is_new)


def _reason(reason: Reason) -> records.Reason:
    before, after = (UNSET if value is events.ABSENT else _shown(value) for value in (reason.before, reason.after))
    return records.Reason(text=reason.text, key=reason.key, before=before, after=after)


def _shown(value: Any) -> Any:
    """A value of a config, without a password or a token in its URLs."""
    match value:
        case str():
            return without_credentials(value)
        case list():
            return [_shown(element) for element in value]
        case dict():
            return {name: _shown(element) for name, element in value.items()}
    return value


def _phase_failed(build: Build, phase: Phase, fault: HabitatError) -> records.PhaseFailed:
    project = current_project()
    path = project.log_path(build.name, phase)
    log = str(path.relative_to(project.root)) if path.exists() else ""
    failed = journals.told(fault)
    failed["remedy"] = failed["remedy"].replace(f"; log: {log}", "")  # which is a field of its own
    return records.PhaseFailed(
        habitat=build.name,
        phase=phase.NAME,
        seconds=round(time.monotonic() - build.since, 3),
        exit_code=getattr(fault, "exit_code", None),
        output=list(fault.output),
        log=log,
        **failed,
    )
