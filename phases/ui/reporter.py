"""The transcript of a run: the events of doit and of core as lines for a person."""

from __future__ import annotations

import io
import sys
import time
from typing import IO, TYPE_CHECKING, Any, cast

from msgspec import Struct, field

from phases.core import events
from phases.core.errors import HabitatError
from phases.protocol import slug
from phases.registry import PHASES, named
from phases.ui.durations import duration
from phases.ui.output import GuardedStream
from phases.ui.screen import Screen, Styled, joined, styled
from phases.ui.tasks import HabitatFailed, current_project, is_verb, parse_task, phase_named, pipes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from phases.protocol import Phase
    from phases.ui.tasks import Freshness


def percent(phase: Phase) -> int:
    """Return the progress of a build when `phase` is finished: twelfths, and 100 only after final."""
    return 100 if phase is PHASES[-1] else min(95, 100 * (phase.ID + 1) // 12)


class BuildProgress(Struct):
    """The state of a habitat's build in this run.

    Args:
        name: The habitat.
        goal: The last phase to build.
        started: When its build began.
        cached: The last phase that was up to date before the first that ran.
        running: The phase that runs.
        since: When that began.
        announced: The first lines of the build are written.
        failed: A task failed.
        pulled: Of each layer's step of a pull the bytes, and how many there are.
        shared: Phases that were taken over and are not reported yet.
    """

    name: str
    goal: Phase
    started: float = field(default_factory=time.monotonic)
    cached: Phase | None = None
    running: Phase | None = None
    since: float = 0
    announced: bool = False
    failed: bool = False
    pulled: dict[str, tuple[int, int]] = field(default_factory=dict)
    shared: list[events.PhaseShared] = field(default_factory=list)


class HabitatReporter:
    """doit's reporter. If a run builds several habitats, each line names its own."""

    desc = "lines for a person: what runs, why, and how long it took"

    def __init__(self, outstream: IO[str], options: dict[str, Any]) -> None:
        del options
        self.screen = Screen(cast("IO[str]", GuardedStream(outstream)))
        self.builds: dict[str, BuildProgress] = {}
        self._width = 0
        self._reported: set[str] = set()
        current_project().bus.subscribe(self.on_event)

    # Called by doit

    def initialize(self, tasks: dict[str, Any], selected_tasks: list[str]) -> None:
        """Find the last phase to build of each habitat: `ready` is printed when that is finished."""
        if any(map(pipes, selected_tasks)):
            self.screen = Screen(cast("IO[str]", GuardedStream(sys.stderr or io.StringIO())))
        goals: dict[str, Phase] = {}
        for task in closure(tasks, selected_tasks):
            kind, name = parse_task(task)
            phase = phase_named(kind)
            if phase and (name not in goals or phase.ID > goals[name].ID):
                goals[name] = phase
        self.builds = {name: BuildProgress(name, goals[name]) for name in sorted(goals)}
        self._width = max(map(len, goals)) if len(goals) > 1 else 0

    def get_status(self, task: Any) -> None:
        build, _ = self._of(task)
        if build and not build.cached and not build.announced:
            build.started = time.monotonic()

    def skip_uptodate(self, task: Any) -> None:
        build, phase = self._of(task)
        if not build or not phase:
            return
        if not build.announced:
            build.cached = phase
        if phase is build.goal:
            self._ready(build)

    def skip_ignore(self, task: Any) -> None:
        self.screen.plain(f"{task.name} is ignored (doit ignore): run doit forget {task.name} to undo that", "yellow")

    def execute_task(self, task: Any) -> None:
        build, phase = self._of(task)
        if not build or not phase or build.announced:
            return
        freshness: Freshness = task.uptodate[0][0]
        if not freshness.error:  # with an error nothing is built
            build.announced = True
            self._announce(build, phase, freshness.reason)

    def add_success(self, task: Any) -> None:
        build, phase = self._of(task)
        if build and phase is build.goal:
            self._ready(build)

    def add_failure(self, task: Any, fail: Any) -> None:
        build, _ = self._of(task)
        if build:
            self._print_shared(build)
            self.screen.end(build.name)
        if isinstance(fail, HabitatFailed):
            self._failed(build, task, fail.error)
        elif type(fail).__name__ != "UnmetDependency":  # its cause is already reported
            self.screen.plain(f"{task.name}: {fail.get_msg()}".rstrip(), "red")
            self.screen.plain("This is a bug of the program. Please report it with the lines above.")
        if build:
            build.failed, build.running = True, None

    def cleanup_error(self, exception: Any) -> None:
        self.screen.plain(exception.get_msg(), "red")

    def runtime_error(self, msg: str) -> None:
        self.screen.plain(msg, "red")

    def teardown_task(self, task: Any) -> None:
        """Do nothing: no task has a teardown."""

    def complete_run(self) -> None:
        for build in self.builds.values():
            self._print_shared(build)
        self.screen.close()
        failed = [build.name for build in self.builds.values() if build.failed]
        if failed and self._width:
            self.screen.line()
            count = len(self.builds) - len(failed)
            self.screen.plain(f"{count} of {len(self.builds)} ready; failed: {', '.join(failed)}", "bold red")

    # Called by the project's bus

    def on_event(self, event: events.Event) -> None:
        match event:
            case events.PhaseStarted():
                self._started(event)
            case events.Output() | events.OutputBlock():
                self._print_output(event)
            case events.Pull():
                self._pulled(event)
            case events.PhaseFinished() | events.PhaseShared():
                self._finished(event)
            case events.Notice():
                style = "yellow" if event.warning else ""
                self._message(event.habitat, styled(("⚠ " if event.warning else "• ") + event.text, style), indent=2)
            case events.Line():
                self.screen.plain(event.text, "bold" if event.heading else "")
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

    # Lines

    def _of(self, task: Any) -> tuple[BuildProgress | None, Phase | None]:
        kind, name = parse_task(task.name)
        return self.builds.get(name), phase_named(kind)

    def _say(self, name: str, text: Styled) -> None:
        self.screen.line(self._prefix(name) + text)

    def _message(self, name: str, text: Styled, indent: int = 3) -> None:
        """Print a line that may be too long for a terminal."""
        self.screen.message(self._prefix(name), text, indent)

    def _prefix(self, name: str) -> Styled:
        return joined((f"{name:<{self._width}} │ ", "dim")) if self._width and name else Styled()

    def _announce(self, build: BuildProgress, first: Phase, reason: str) -> None:
        self._say(build.name, styled(f"🚀 Starting {build.name} build...", "bold"))
        self._say(build.name, styled("📋 Checking for existing snapshots..."))
        self._gap()
        if cached := build.cached:
            snapshot = cached if cached.SNAPSHOT else next(p for p in PHASES[cached.ID :: -1] if p.SNAPSHOT)
            text = f"✅ Using snapshot: {build.name}:{slug(snapshot)} ({self._range(build)} cached)"
            self._say(build.name, styled(text, "green"))
        runs = reason and first.NAME not in _shareable(build.name)
        if runs:
            self._message(build.name, styled(f"🔁 {first.NAME} runs: {reason}"))
        if build.cached or runs:
            self._gap()

    def _gap(self) -> None:
        if not self._width:
            self.screen.line()

    def _range(self, build: BuildProgress) -> str:
        """Return the cached phases, as `phases 1-7`."""
        first = current_project().phases(build.name)[0]
        assert build.cached
        return f"phase {first.ID}" if build.cached is first else f"phases {first.ID}-{build.cached.ID}"

    def _started(self, event: events.PhaseStarted) -> None:
        build, phase = self.builds.get(event.habitat), named(event.phase)
        if build:
            self._print_shared(build)
            build.running, build.since = phase, time.monotonic()
        self._say(event.habitat, _at(phase, f"{phase.TITLE}..."))
        self.screen.begin(event.habitat, f"{event.habitat}: {phase.TITLE.lower()}")

    def _finished(self, event: events.PhaseFinished | events.PhaseShared) -> None:
        if isinstance(event, events.PhaseShared):
            self._shared(event)
            return
        phase = named(event.phase)
        self.screen.end(event.habitat)
        if build := self.builds.get(event.habitat):
            build.running = None
        snapshot = f" → snapshot: {event.habitat}:{slug(phase)}" if event.snapshot else ""
        text = _at(phase, "✅ ", (phase.NAME, "bold green"), f" ({duration(event.seconds)})", (snapshot, "dim"))
        self._say(event.habitat, text)

    def _shared(self, event: events.PhaseShared) -> None:
        """Collect phases that are taken over from one habitat in a row: they are reported in one line."""
        build = self.builds.get(event.habitat)
        if build is None:
            return
        if build.shared and build.shared[-1].shared_with != event.shared_with:
            self._print_shared(build)
        build.shared.append(event)

    def _print_shared(self, build: BuildProgress) -> None:
        if build.shared:
            first, last = build.shared[0], build.shared[-1]
            span = first.phase if first is last else f"{first.phase} … {last.phase}"
            text = _at(named(last.phase), "♻ ", (span, "bold green"), f": shared with {last.shared_with}")
            self._say(build.name, text)
            build.shared = []

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

    def _ready(self, build: BuildProgress) -> None:
        seconds = duration(time.monotonic() - build.started)
        result = f"{build.name} ready" if build.goal is PHASES[-1] else f"{build.name} built up to {build.goal.NAME}"
        cached = f" ({self._range(build)} from cache)" if build.cached else ""
        self._print_shared(build)
        if build.announced:
            self._gap()
        self._say(build.name, styled(f"✅ {result} in {seconds}{cached}", "bold green"))

    def _failed(self, build: BuildProgress | None, task: Any, error: HabitatError) -> None:
        kind, name = parse_task(task.name)
        phase = phase_named(kind)
        if build and build.running and phase:
            seconds = duration(time.monotonic() - build.since)
            self._say(name, _at(phase, "❌ ", (phase.NAME, "bold red"), f" ({seconds})"))
        for line in error.output:
            self._say(name, styled(f"    {line.expandtabs()}", "red"))
        text = str(error)
        if text not in self._reported or error.output:
            self._reported.add(text)
            self._print_error(name, "" if is_verb(kind) else f"{task.name}: ", error)

    def _print_error(self, name: str, label: str, error: HabitatError) -> None:
        """Print an error on one line. If that is too long for a terminal, each remedy has a line of its own."""
        style, whole = "bold red", f"❌ {label}{error}"
        if self.screen.fits(self._prefix(name), whole):
            self._message(name, styled(whole, style))
            return
        problem, *remedies = error.lines()
        self._message(name, styled(f"❌ {label}{problem}", style))
        for remedy in remedies:
            self._message(name, styled(f"   → {remedy}"), indent=5)


def _shareable(name: str) -> Mapping[str, object]:
    """Return the phases that are taken over from other habitats."""
    from phases.core.build.shared_builds import SharedSnapshots  # here: not every run builds

    try:
        return SharedSnapshots(current_project()).shareable(name)
    except HabitatError:  # the build meets the same error, and reports it
        return {}


def _at(phase: Phase, *parts: str | tuple[str, str]) -> Styled:
    """Return a line of a phase that begins with the progress. Its parts are as in `joined`."""
    return joined((f"[{percent(phase)}%] ", "cyan"), *parts)


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
