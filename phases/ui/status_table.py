"""The table of `doit status`: on a terminal the widest layout that fits, in a pipe the widest."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import IO, TYPE_CHECKING, Literal

from rich import box
from rich.console import Console, Group
from rich.filesize import decimal
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from phases.ui.status_signs import SIGNS, Strip, legend

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.console import JustifyMethod, RenderableType

    from phases.core.report.states import Base, ContainerState, HabitatState, Overview
    from phases.ui.status_signs import Heads


# Units of an age: its seconds, the number at which the next unit begins, and its name.
_UNITS = ((1, 60, "s"), (60, 60, "m"), (3600, 24, "h"), (86400, 14, "d"), (604800, 9, "w"), (2629746, 24, "mo"))
_YEAR = 31556952

# Wider than any table.
_ENDLESS = 1_000_000

# Columns of a habitat's name before it is wrapped.
_NAME = 24


@dataclass(frozen=True)
class Layout:
    """A layout of the table.

    Args:
        heads: What is above the signs of phases: names on one line, on two, or numbers.
        base: What to show of the base image.
        reasons: Show the reasons to run in a column, or below the table.
    """

    heads: Heads
    base: Literal["image", "age", ""]
    reasons: Literal["beside", "below"]


#: All layouts, the widest first.
LAYOUTS = (
    Layout("names", "image", "beside"),
    Layout("names", "image", "below"),
    Layout("staggered", "image", "below"),
    Layout("ids", "image", "below"),
    Layout("ids", "age", "below"),
    Layout("ids", "", "below"),
)


@dataclass(frozen=True)
class Column:
    """A column. `foot` is its total, shown if there are several habitats."""

    head: Text
    cell: Callable[[HabitatState], Text]
    foot: str = ""
    justify: JustifyMethod = "left"
    folds: bool = False


def show(overview: Overview, stream: IO[str]) -> None:
    """Print the table of an overview."""
    if hasattr(stream, "reconfigure"):
        stream.reconfigure(errors="replace")
    console = Console(file=stream, highlight=False, emoji=False, markup=False)
    if not overview.habitats:
        console.print("there are no habitats yet: doit new NAME creates one")
        return
    if console.is_terminal:
        console.print(page(overview, console, datetime.now(UTC)))
        return
    console.width = _ENDLESS
    with console.capture() as captured:
        console.print(page(overview, console, datetime.now(UTC)))
    stream.writelines(f"{line.rstrip()}\n" for line in captured.get().splitlines())


def page(overview: Overview, console: Console, now: datetime) -> RenderableType:
    """Return the table in the first layout that fits the console, or in the last."""
    plain = not console.encoding.lower().startswith("utf")
    endless = console.options.update(max_width=_ENDLESS)
    longest = max(Text(habitat.name).cell_len for habitat in overview.habitats)
    folded = max(0, longest - _NAME) if console.width < _ENDLESS else 0
    for layout in LAYOUTS:
        table = _table(overview, _columns(overview, layout, now, plain=plain))
        if Measurement.get(console, endless, table).maximum - folded <= console.width:
            break
    notes = _notes(overview) if layout.reasons == "below" else None
    return Group(table, "", *([notes, ""] if notes else []), legend(overview, plain=plain))


def _table(overview: Overview, columns: Sequence[Column]) -> Table:
    several = len(overview.habitats) > 1
    table = Table(
        box=box.SIMPLE,
        show_footer=several,
        show_edge=False,
        padding=(0, 1, 0, 0),
        header_style="dim",
        border_style="dim",
    )
    lines = max(column.head.plain.count("\n") for column in columns)
    for column in columns:
        table.add_column(
            Text("\n" * (lines - column.head.plain.count("\n"))) + column.head,
            column.foot,
            justify=column.justify,
            no_wrap=not column.folds,
            overflow="fold",
            min_width=len(column.foot) if several else None,
            footer_style="dim",
        )
    for habitat in overview.habitats:
        table.add_row(*(column.cell(habitat) for column in columns))
    return table


def _columns(overview: Overview, layout: Layout, now: datetime, *, plain: bool) -> list[Column]:
    """Return the columns that aren't empty. There must be a habitat."""
    habitats = overview.habitats
    strip = Strip(habitats, layout.heads, plain=plain)
    columns = [
        Column(Text("habitat"), lambda habitat: Text(habitat.name, "bold"), f"{len(habitats)} habitats", folds=True),
        Column(strip.head(), strip.row),
    ]
    if any(habitat.container for habitat in habitats):
        up = sum(bool(habitat.container and habitat.container.running) for habitat in habitats)
        columns.append(Column(Text("container"), lambda habitat: _container(habitat.container, now), f"{up} up"))
    if any(habitat.set_aside for habitat in habitats):
        aside = sum(len(habitat.set_aside) for habitat in habitats)
        columns.append(Column(Text("aside"), _aside, str(aside), "right"))
    if overview.bytes:
        columns.append(
            Column(Text("size"), lambda habitat: _bytes(habitat.bytes), _bytes(overview.bytes).plain, "right")
        )
    if layout.base == "image":
        with_it = "with base images" if overview.bytes else ""
        columns.append(Column(Text("base image"), lambda habitat: _base(habitat.base, now), with_it))
    elif layout.base == "age" and any(habitat.base and habitat.base.created for habitat in habitats):
        columns.append(Column(Text("base"), lambda habitat: Text(_age(habitat.base, now))))
    if layout.reasons == "beside" and any(map(_note, habitats)):
        columns.append(Column(Text("next"), _note))
    return columns


def age(since: datetime, now: datetime) -> str:
    """Return an age such as 42s, 5m, 3h, 2d, 3w, 5mo or 2y."""
    seconds = max(0, int((now - since).total_seconds()))
    ages = (f"{seconds // unit}{name}" for unit, most, name in _UNITS if seconds < unit * most)
    return next(ages, f"{seconds // _YEAR}y")


def _container(container: ContainerState | None, now: datetime) -> Text:
    if container is None:
        return Text()
    since = f" {age(container.since, now)}" if container.since else ""
    inside = f", {len(container.pids)} in it" if container.pids else ""
    return Text(f"up{since}{inside}", "green") if container.running else Text(f"stopped{since}")


def _aside(habitat: HabitatState) -> Text:
    return Text(str(len(habitat.set_aside) or ""))


def _bytes(size: int | None) -> Text:
    return Text(decimal(size).replace("bytes", "B") if size else "")


def _base(base: Base | None, now: datetime) -> Text:
    if base is None:
        return Text()
    reference = base.reference or "of the Dockerfile"
    return Text(f"{reference}, {_age(base, now)} old" if base.created else reference)


def _age(base: Base | None, now: datetime) -> str:
    return age(base.created, now) if base and base.created else ""


def _note(habitat: HabitatState) -> Text:
    """Return a habitat's error, or why its first phase would run. The signs show that it was never built."""
    if habitat.error:
        return Text(habitat.error)
    first = habitat.first
    if first is None or (first is habitat.phases[0] and first.state == "new"):
        return Text()
    return Text.assemble((first.name, SIGNS[first.state].style), ": ", first.reason)


def _notes(overview: Overview) -> RenderableType | None:
    notes = {habitat.name: note for habitat in overview.habitats if (note := _note(habitat))}
    if not notes:
        return None
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(overflow="fold", style="bold", max_width=24)
    grid.add_column(overflow="fold")
    for name, note in notes.items():
        grid.add_row(name, note)
    return grid
