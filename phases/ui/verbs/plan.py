"""`habitat plan NAME`: show what a build would run, and why. Changes nothing."""

from __future__ import annotations

import sys
from itertools import groupby
from typing import IO, TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from phases.core.events import Plan
    from phases.core.project import Project

NAME = "plan"
DESCRIPTION = "Show what a build would run, and why"
EXAMPLE = ("plan",)
BUILDS = False
HARMLESS = True
OPTIONS: tuple[dict[str, Any], ...] = (
    {"name": "all", "long": "all", "type": bool, "default": False, "help": "show all changes, not only 12 per phase"},
)
WORDS = False
PIPES = False

# Changes of a phase that are shown without --all.
_SHOWN = 12


def run(project: Project, name: str, *, all: bool) -> int:  # noqa: A002 (the option's name)
    """Print the plan. Returns exit code 1 if a build would run a phase."""
    # Here, so that making the tasks loads none of it.
    from phases.core import events
    from phases.core.report import plan as report_plan
    from phases.ui.output import GuardedStream
    from phases.ui.screen import Screen

    plan = report_plan.plan(project, name, with_work=True)
    for text in report_plan.warnings(project, name):
        project.bus.emit(events.Notice(name, text, warning=True))
    project.bus.emit(events.Planned(name, plan))
    screen = Screen(cast("IO[str]", GuardedStream(sys.stdout)))
    screen.line(_shown(plan, everything=all, wrap=screen.live, workdir=project.habitat(name).workdir))
    return 1 if plan.reasons else 0


def _shown(plan: Plan, *, everything: bool, wrap: bool, workdir: str = "") -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    if not plan.reasons:
        done = Text.assemble((plan.name, "bold"), f": nothing to {'build' if plan.replaced else 'do'}")
        return Group(done, _outcomes([_replacement(plan, workdir)], wrap=wrap)) if plan.replaced else done
    rows = _rows(plan, None if everything else _SHOWN)
    table = _wrapped(rows) if wrap else _whole(rows)
    outcome = [_outcome(plan), *([_replacement(plan, workdir)] if plan.replaced else [])]
    return Group(Text(plan.name, style="bold"), table, _outcomes(outcome, wrap=wrap))


def _outcomes(lines: Sequence[str], *, wrap: bool) -> RenderableType:
    """Return what follows from the plan, each as a line, which is wrapped on a terminal."""
    from rich.table import Table
    from rich.text import Text

    if not wrap:
        return Text("\n".join(f"⇒ {line}" for line in lines), style="bold")
    grid = Table.grid(padding=(0, 1, 0, 0))
    for line in lines:
        grid.add_row(Text("⇒", style="bold"), Text(line, style="bold"))
    return grid


def _replacement(plan: Plan, workdir: str) -> str:
    from phases.core.runtime.persistence import unkept

    if plan.kept:
        return f"{plan.replaced}: at the next start {plan.kept}"
    work = unkept.describe(plan.lacks, workdir) if plan.lacks else ""
    lacks = f": the new one will lack {work}" if work else ""
    kept = "the old one is kept under another name if it has changes"
    return f"the next start replaces the container, since {plan.replaced}{lacks}; {kept}"


def _wrapped(rows: Sequence[tuple[str, str]]) -> RenderableType:
    """Return a table for a terminal, in which long reasons are wrapped."""
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True, style="cyan")
    grid.add_column(overflow="fold")
    for phase, reason in rows:
        grid.add_row(phase, Text(reason))
    return Padding(grid, (0, 0, 0, 2))


def _whole(rows: Sequence[tuple[str, str]]) -> RenderableType:
    """Return a table for a pipe, in which each reason is one line."""
    from rich.text import Text

    width = max(len(phase) for phase, _ in rows)
    return Text("\n".join(f"  {phase:<{width}}  {reason}" for phase, reason in rows))


def _rows(plan: Plan, most: int | None) -> list[tuple[str, str]]:
    """Return each phase and its reasons, one in a row. Only the first row of a phase names it."""
    if plan.is_new:
        return [(next(iter(plan.reasons)), "it was never built")]
    rows: list[tuple[str, str]] = []
    for phase, reasons in plan.reasons.items():
        shown = list(reasons[:most])
        if len(reasons) > len(shown):
            shown.append(f"… and {len(reasons) - len(shown)} more: --all shows them")
        rows += [("" if number else phase, text) for number, text in enumerate(shown)]
    return rows


def _outcome(plan: Plan) -> str:
    """Return a line such as `reuse base … setup of other, rebuild repos … final, about 1m 20s`."""
    taken = [
        f"reuse {_span(list(phases))} of {owner}"
        for owner, phases in groupby(plan.shared, lambda phase: plan.shared[phase])
    ]
    phases = [phase for phase in plan.reasons if phase not in plan.shared]
    built = [f"{'build' if plan.is_new else 'rebuild'} {_span(phases)}, {_duration(phases, plan)}"] if phases else []
    return ", ".join([*taken, *built])


def _span(phases: Sequence[str]) -> str:
    return phases[0] if len(phases) == 1 else f"{phases[0]} … {phases[-1]}"


def _duration(phases: Sequence[str], plan: Plan) -> str:
    from phases.ui.durations import duration

    if not plan.seconds:
        return "time not known yet"
    known = duration(sum(plan.seconds.values()))
    unknown = len(phases) - len(plan.seconds)
    return (
        f"at least {known} (the time of {unknown} of {len(phases)} phases is not known)"
        if unknown
        else f"about {known}"
    )
