"""doit's reporter for a person: the events of doit and of core become lines of the transcript."""

from __future__ import annotations

import io
import sys
import time
from typing import IO, TYPE_CHECKING, Any, cast

from phases.core import command_form, events
from phases.core.errors import HabitatError
from phases.ui.durations import duration
from phases.ui.output import GuardedStream
from phases.ui.screen import Screen
from phases.ui.styled import styled
from phases.ui.tasks import HabitatFailed, current_project, parse_task, phase_named, pipes
from phases.ui.transcript import BuildLines, BuildProgress, Transcript
from phases.ui.verbs import start

if TYPE_CHECKING:
    from collections.abc import Iterable

    from phases.protocol import Phase
    from phases.ui.tasks import Freshness


class HabitatReporter:
    """doit's reporter."""

    desc = "lines for a person: what runs, why, and how long it took"

    def __init__(self, outstream: IO[str], options: dict[str, Any]) -> None:
        del options
        self.transcript = Transcript(Screen(cast("IO[str]", GuardedStream(outstream))))
        self.builds = self.transcript.builds
        self._builds = BuildLines(self.transcript)
        self._events = EventLines(self.transcript, self._builds)
        current_project().bus.subscribe(self.on_event)

    # Called by doit

    def initialize(self, tasks: dict[str, Any], selected_tasks: list[str]) -> None:
        """Find the last phase to build of each habitat: `ready` is printed when that is finished."""
        if any(pipes(name, tasks[name].options or {}) for name in selected_tasks):
            self.transcript.screen = Screen(cast("IO[str]", GuardedStream(sys.stderr or io.StringIO())))
        goals: dict[str, Phase] = {}
        for task in closure(tasks, selected_tasks):
            kind, name = parse_task(task)
            phase = phase_named(kind)
            if phase and (name not in goals or phase.ID > goals[name].ID):
                goals[name] = phase
        starting = {name for kind, name in map(parse_task, selected_tasks) if kind == start.NAME}
        self.builds.update({name: BuildProgress(name, goals[name]) for name in sorted(goals)})
        for name in starting & goals.keys():
            self.builds[name].starts_later = _can_fail_to_get_ready(name)

    def get_status(self, task: Any) -> None:
        build, _ = self.transcript.of(task)
        if build and not build.cached and not build.announced:
            build.started = time.monotonic()

    def skip_uptodate(self, task: Any) -> None:
        build, phase = self.transcript.of(task)
        if not build or not phase:
            return
        if not build.announced:
            build.cached = phase
        if phase is build.goal:
            self._ready(build)

    def skip_ignore(self, task: Any) -> None:
        self.transcript.screen.plain(
            f"{task.name} is ignored: `{command_form.command('forget', task.name)}` undoes that", "yellow"
        )

    def execute_task(self, task: Any) -> None:
        build, phase = self.transcript.of(task)
        if not build or not phase or build.announced:
            return
        freshness: Freshness = task.uptodate[0][0]
        if not freshness.error:  # with an error nothing is built
            build.announced = True
            self._announce(build, phase, freshness.reason)

    def add_success(self, task: Any) -> None:
        build, phase = self.transcript.of(task)
        if build and phase is build.goal:
            self._ready(build)

    def add_failure(self, task: Any, fail: Any) -> None:
        build, _ = self.transcript.of(task)
        if build:
            self._builds.print_shared(build)
            self.transcript.screen.end(build.name)
        if isinstance(fail, HabitatFailed):
            self._builds.failed(build, task, fail.error)
        elif type(fail).__name__ != "UnmetDependency":  # its cause is already reported
            self.transcript.screen.plain(f"{task.name}: {fail.get_msg()}".rstrip(), "red")
            self.transcript.screen.plain("This is a bug of the program. Please report it with the lines above.")
        if build:
            build.failed, build.running = True, None

    def cleanup_error(self, exception: Any) -> None:
        self.transcript.screen.plain(exception.get_msg(), "red")

    def runtime_error(self, msg: str) -> None:
        self.transcript.screen.plain(msg, "red")

    def teardown_task(self, task: Any) -> None:
        """Do nothing: no task has a teardown."""

    def complete_run(self) -> None:
        for build in self.builds.values():
            self._builds.print_shared(build)
        self.transcript.screen.close()
        failed = [build.name for build in self.builds.values() if build.failed]
        if failed and len(self.builds) > 1:
            self.transcript.screen.line()
            count = len(self.builds) - len(failed)
            self.transcript.screen.plain(
                f"{count} of {len(self.builds)} ready; failed: {', '.join(failed)}", "bold red"
            )

    # Called by the project's bus

    def on_event(self, event: events.Event) -> None:
        self._events.on_event(event)

    # Overridden where builds are reported in another form as well

    def _announce(self, build: BuildProgress, first: Phase, reason: str) -> None:
        self._builds.announce(build, first, reason)

    def _ready(self, build: BuildProgress) -> None:
        self._builds.ready(build)


class EventLines:
    """Writes what the events of core say."""

    def __init__(self, transcript: Transcript, builds: BuildLines) -> None:
        self._transcript = transcript
        self._builds = builds
        self._say = transcript.say
        self.builds = transcript.builds

    @property
    def screen(self) -> Screen:
        return self._transcript.screen

    def on_event(self, event: events.Event) -> None:
        match event:
            case events.PhaseStarted():
                self._builds.started(event)
            case events.Output() | events.OutputBlock():
                self._print_output(event)
            case events.Pull():
                self._pulled(event)
            case events.PhaseFinished() | events.PhaseShared():
                self._builds.finished(event)
            case events.Notice():
                style = "yellow" if event.warning else ""
                self._transcript.message(
                    event.habitat, styled(("⚠ " if event.warning else "• ") + event.text, style), indent=2
                )
            case events.Line():
                self.screen.plain(event.text, "bold" if event.heading else "")
            case events.LineBlock():
                self.screen.plain("\n".join(event.lines))
            case events.Waiting() | events.Waited():
                self._waiting(event)
            case events.Handover():
                self.screen.close()

    def _print_output(self, event: events.Output | events.OutputBlock) -> None:
        if isinstance(event, events.OutputBlock):
            self.screen.note(event.habitat, event.lines[-1])
            return
        self._say(event.habitat, styled(f"    {event.text.expandtabs()}", "dim"))
        self.screen.note(event.habitat, event.text)

    def _pulled(self, event: events.Pull) -> None:
        """Show the bytes of all layers on a terminal, a line for each finished step in a pipe."""
        self.screen.note(event.habitat, f"{event.layer} {event.status}")
        if event.total_bytes:
            if build := self.builds.get(event.habitat):
                build.pulled[f"{event.layer} {event.status}"] = (event.done_bytes, event.total_bytes)
                done, total = (sum(part) / 1e6 for part in zip(*build.pulled.values(), strict=True))
                self.screen.note(event.habitat, f"{event.layer} {event.status} ({done:.0f} of {total:.0f} MB in all)")
        elif not self.screen.live:
            self._say(event.habitat, styled("    " + f"{event.layer} {event.status}".strip(), "dim"))

    def _waiting(self, event: events.Waiting | events.Waited) -> None:
        """Show how long a habitat gets ready, and the last line of its check; in a pipe only the beginning."""
        if isinstance(event, events.Waited):
            self.screen.end(event.habitat)
        elif event.said:
            self.screen.note(event.habitat, event.said)
        elif self.screen.live:
            self.screen.begin(event.habitat, f"{event.habitat}: waiting until it is ready")
            self.screen.note(event.habitat, event.command)
        else:
            most = duration(event.seconds)
            self._say(event.habitat, styled(f"• waiting until it is ready, {most} at most: {event.command}"))


def _can_fail_to_get_ready(name: str) -> bool:
    try:
        entry = current_project().habitat(name).entry
    except HabitatError:  # the build meets the same error, and reports it
        return False
    return bool(entry.ready or entry.init_command or entry.startup_delay)


def closure(tasks: dict[str, Any], selected: Iterable[str]) -> set[str]:
    """Return the selected tasks and all that they depend on."""
    needed: set[str] = set()
    todo = list(selected)
    while todo:
        name = todo.pop()
        if name in tasks and name not in needed:
            needed.add(name)
            todo += tasks[name].task_dep
    return needed
