"""The transcript of a run: what is written of each habitat's build."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

from phases.core import events
from phases.core.errors import HabitatError
from phases.core.problems import errors_of
from phases.protocol import slug
from phases.registry import PHASES, named
from phases.ui.durations import duration
from phases.ui.styled import Styled, joined, styled
from phases.ui.tasks import current_project, is_verb, parse_task, phase_named

if TYPE_CHECKING:
    from collections.abc import Mapping

    from phases.protocol import Phase
    from phases.ui.screen import Screen


def percent(phase: Phase) -> int:
    """Return the progress of a build when `phase` is finished: twelfths, and 100 only after final."""
    return 100 if phase is PHASES[-1] else min(95, 100 * (phase.ID + 1) // 12)


class BuildProgress(Struct):
    """The state of a habitat's build in this run.

    Args:
        name: The habitat.
        goal: The last phase to build.
        started: When its build began.
        starts_later: Whether the run then starts the habitat, which can fail to get ready.
        cached: The last phase that was up to date before the first that ran.
        running: The phase that runs.
        since: When that began.
        announced: The first lines of the build are written.
        failed: A task failed.
        pulled: Of each layer's step of a pull the bytes, and how many there are.
        shared: Phases that were taken over and are not reported yet.
        idle: Phases that ran with nothing to do and are not reported yet.
        reported: The phase of the last line.
    """

    name: str
    goal: Phase
    started: float = field(default_factory=time.monotonic)
    starts_later: bool = False
    cached: Phase | None = None
    running: Phase | None = None
    since: float = 0
    announced: bool = False
    failed: bool = False
    pulled: dict[str, tuple[int, int]] = field(default_factory=dict)
    shared: list[events.PhaseShared] = field(default_factory=list)
    idle: list[Phase] = field(default_factory=list)
    reported: Phase | None = None


class Transcript:
    """Writes the lines of a run. If it builds several habitats, each line begins with the name of its own.

    Attributes:
        screen: Where the lines are written.
        builds: The builds of the run, by habitat.
    """

    def __init__(self, screen: Screen) -> None:
        self.screen = screen
        self.builds: dict[str, BuildProgress] = {}

    @property
    def _width(self) -> int:
        """The columns of a habitat's name, 0 if there is only one."""
        return max(map(len, self.builds)) if len(self.builds) > 1 else 0

    def of(self, task: Any) -> tuple[BuildProgress | None, Phase | None]:
        """Return the build and the phase of a doit task, None for what it has not."""
        kind, name = parse_task(task.name)
        return self.builds.get(name), phase_named(kind)

    def say(self, name: str, text: Styled) -> None:
        """Print a line of a habitat."""
        self.screen.line(self.prefix(name) + text)

    def message(self, name: str, text: Styled, indent: int = 3) -> None:
        """Print a line that may be too long for a terminal."""
        self.screen.message(self.prefix(name), text, indent)

    def prefix(self, name: str) -> Styled:
        """Return what each line of a habitat begins with."""
        width = self._width
        return joined((f"{name:<{width}} │ ", "dim")) if width and name else Styled()

    def gap(self) -> None:
        """Print an empty line, unless lines of several habitats would be around it."""
        if len(self.builds) < 2:
            self.screen.line()


class BuildLines:
    """Writes the lines of builds: how they begin, what their phases do, and how they end."""

    def __init__(self, transcript: Transcript) -> None:
        self._transcript = transcript
        self._reported: set[str] = set()

    def announce(self, build: BuildProgress, first: Phase, reason: str) -> None:
        """Write what is reused, and why `first` is the first phase that runs."""
        self._transcript.say(build.name, styled(f"🚀 Starting {build.name} build...", "bold"))
        self._transcript.say(build.name, styled("📋 Checking for existing snapshots..."))
        self._transcript.gap()
        if cached := build.cached:
            snapshot = cached if cached.SNAPSHOT else next(p for p in PHASES[cached.ID :: -1] if p.SNAPSHOT)
            tag = f"{current_project().names.of(build.name)}:{slug(snapshot)}"
            text = f"✅ Using snapshot: {tag} ({self._range(build)} cached)"
            self._transcript.say(build.name, styled(text, "green"))
        runs = reason and first.NAME not in _shareable(build.name)
        if runs:
            self._transcript.message(build.name, styled(f"🔁 {first.NAME} runs: {reason}"))
        if build.cached or runs:
            self._transcript.gap()

    def _range(self, build: BuildProgress) -> str:
        """Return the cached phases, as `phases 1-7`."""
        first = current_project().phases(build.name)[0]
        assert build.cached
        return f"phase {first.ID}" if build.cached is first else f"phases {first.ID}-{build.cached.ID}"

    def started(self, event: events.PhaseStarted) -> None:
        """Write that a phase runs."""
        build, phase = self._transcript.builds.get(event.habitat), named(event.phase)
        if build:
            self.print_shared(build)
            build.running, build.since = phase, time.monotonic()
            if _has_nothing_to_do(build, phase):
                build.idle.append(phase)
                return
            if phase is build.goal:
                self.print_idle(build)
            build.reported = phase
        self._transcript.say(event.habitat, _at(phase, f"{phase.TITLE}..."))
        self._transcript.screen.begin(event.habitat, f"{event.habitat}: {phase.TITLE.lower()}")

    def finished(self, event: events.PhaseFinished | events.PhaseShared) -> None:
        """Write that a phase is done."""
        if isinstance(event, events.PhaseShared):
            self._shared(event)
            return
        phase = named(event.phase)
        self._transcript.screen.end(event.habitat)
        if build := self._transcript.builds.get(event.habitat):
            build.running = None
            if phase in build.idle:
                return
        snapshot = f" → snapshot: {event.snapshot.removeprefix('habitat-')}" if event.snapshot else ""
        text = _at(phase, "✅ ", (phase.NAME, "bold green"), f" ({duration(event.seconds)})", (snapshot, "dim"))
        self._transcript.say(event.habitat, text)

    def _shared(self, event: events.PhaseShared) -> None:
        """Collect phases that are taken over from one habitat in a row: they are reported in one line."""
        build = self._transcript.builds.get(event.habitat)
        if build is None:
            return
        self.print_idle(build)
        if build.shared and build.shared[-1].shared_with != event.shared_with:
            self.print_shared(build)
        build.shared.append(event)

    def print_shared(self, build: BuildProgress) -> None:
        """Write which phases were taken over since the last line about that."""
        if build.shared:
            first, last = build.shared[0], build.shared[-1]
            span = first.phase if first is last else f"{first.phase} … {last.phase}"
            text = _at(named(last.phase), "♻ ", (span, "bold green"), f": shared with {last.shared_with}")
            self._transcript.say(build.name, text)
            build.shared = []

    def print_idle(self, build: BuildProgress, at: Phase | None = None) -> None:
        """Write, in one line, which phases had nothing to do. at: the phase that the build is at, if it failed."""
        if build.idle:
            names = ", ".join(phase.NAME for phase in build.idle)
            latest = max(filter(None, (build.idle[-1], build.reported)), key=lambda phase: phase.ID)
            line = _at(at or latest, "✅ ", (names, "bold green"), ": nothing to do")
            self._transcript.say(build.name, line)
            build.idle = []

    def ready(self, build: BuildProgress) -> None:
        """Write that a build is done."""
        seconds = duration(time.monotonic() - build.started)
        # A start may still find that the habitat doesn't get ready.
        done = "built" if build.starts_later else "ready"
        result = f"{build.name} {done}" if build.goal is PHASES[-1] else f"{build.name} built up to {build.goal.NAME}"
        cached = f" ({self._range(build)} from cache)" if build.cached else ""
        self.print_shared(build)
        self.print_idle(build)
        if build.announced:
            self._transcript.gap()
        self._transcript.say(build.name, styled(f"✅ {result} in {seconds}{cached}", "bold green"))

    def failed(self, build: BuildProgress | None, task: Any, error: HabitatError) -> None:
        """Write the error of a task, with the output of its command, or all errors of a config.

        An error of several tasks is written once.
        """
        kind, name = parse_task(task.name)
        phase = phase_named(kind)
        if build:
            self.print_idle(build, build.running)
        if build and build.running and phase:
            seconds = duration(time.monotonic() - build.since)
            self._transcript.say(name, _at(phase, "❌ ", (phase.NAME, "bold red"), f" ({seconds})"))
        for line in error.output:
            self._transcript.say(name, styled(f"    {line.expandtabs()}", "red"))
        # Where nothing ran, the phase is not to blame.
        label = "" if is_verb(kind) or task.uptodate[0][0].error else f"{task.name}: "
        for each in errors_of(error):
            text = str(each)
            if text not in self._reported or each.output:
                self._reported.add(text)
                self._print_error(name, label, each)

    def _print_error(self, name: str, label: str, error: HabitatError) -> None:
        """Print an error on one line. If that is too long for a terminal, each remedy has a line of its own."""
        style, whole = "bold red", f"❌ {label}{error}"
        if self._transcript.screen.fits(self._transcript.prefix(name), whole):
            self._transcript.message(name, styled(whole, style))
            return
        problem, *remedies = error.lines()
        self._transcript.message(name, styled(f"❌ {label}{problem}", style))
        for remedy in remedies:
            self._transcript.message(name, styled(f"   → {remedy}"), indent=5)


def _shareable(name: str) -> Mapping[str, object]:
    """Return the phases that are taken over from other habitats."""
    from phases.core.build.shared_builds import SharedSnapshots  # here: not every run builds

    try:
        return SharedSnapshots(current_project()).shareable(name)
    except HabitatError:  # the build meets the same error, and reports it
        return {}


def _has_nothing_to_do(build: BuildProgress, phase: Phase) -> bool:
    """Return whether a phase has no step in this habitat. The goal of the build has a line of its own in any case."""
    try:
        return phase is not build.goal and not phase.plan(current_project().habitat(build.name))
    except HabitatError:  # the build meets the same error, and reports it
        return False


def _at(phase: Phase, *parts: str | tuple[str, str]) -> Styled:
    """Return a line of a phase that begins with the progress. Its parts are as in `joined`."""
    return joined((f"[{percent(phase)}%] ", "cyan"), *parts)
