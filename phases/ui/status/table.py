"""The table of `habitat status`: on a terminal the widest layout that fits, else blocks; in a pipe the widest."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import IO, TYPE_CHECKING, Literal

from rich import box
from rich.console import Console, Group
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from phases.core import command_form
from phases.ui.status import cells
from phases.ui.status.blocks import blocks
from phases.ui.status.signs import Strip, legend

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.console import JustifyMethod, RenderableType

    from phases.core.report.states import HabitatState, Overview
    from phases.ui.status.signs import Heads


# Wider than any table.
_ENDLESS = 1_000_000


@dataclass(frozen=True)
class Layout:
    """A layout of the table.

    Args:
        heads: What is above the signs of phases: names on one line, on two, numbers, or numbers from top to bottom.
        base: What to show of the base image.
        reasons: Show the reasons to run in a column, or below the table.
        name: Columns of a habitat's name before it is wrapped.
    """

    heads: Heads
    base: Literal["image", "age", ""]
    reasons: Literal["beside", "below"]
    name: int = 24


#: All layouts, the widest first.
LAYOUTS = (
    Layout("names", "image", "beside"),
    Layout("names", "image", "below"),
    Layout("staggered", "image", "below"),
    Layout("ids", "image", "below"),
    Layout("ids", "age", "below"),
    Layout("ids", "", "below"),
    Layout("tight", "age", "below", 12),
    Layout("tight", "", "below", 12),
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
        console.print(
            f"there are no habitats yet: `{command_form.command('new', 'NAME')}` creates one",
            *_orphans(overview),
            sep="\n",
        )
        return
    if console.is_terminal:
        console.print(page(overview, console, datetime.now(UTC)))
        return
    console.width = _ENDLESS
    with console.capture() as captured:
        console.print(page(overview, console, datetime.now(UTC)))
    stream.writelines(f"{line.rstrip()}\n" for line in captured.get().splitlines())


def page(overview: Overview, console: Console, now: datetime) -> RenderableType:
    """Return the table in the first layout that fits the console, blocks if none does."""
    plain = not console.encoding.lower().startswith("utf")
    for layout in LAYOUTS:
        table = _table(overview, _columns(overview, layout, now, plain=plain))
        if _width(table, overview, layout, console) <= console.width:
            notes = _notes(overview) if layout.reasons == "below" else None
            return Group(table, "", *([notes, ""] if notes else []), legend(overview, plain=plain), *_orphans(overview))
    return Group(blocks(overview, now, plain=plain), "", legend(overview, plain=plain), *_orphans(overview))


def _orphans(overview: Overview) -> list[Text]:
    """Return the lines about what is left of removed habitats, and under earlier names."""
    head = [Text(), Text("left of habitats that were removed, or have another name now:", "dim")]
    return [*head, *(cells.orphan(left) for left in overview.orphans)] if overview.orphans else []


def _width(table: Table, overview: Overview, layout: Layout, console: Console) -> int:
    """Return the columns that a table needs, with long names wrapped."""
    endless = console.options.update(max_width=_ENDLESS)
    wide = Measurement.get(console, endless, table).maximum
    if console.width == _ENDLESS:
        return wide
    longest = max(Text(habitat.name).cell_len for habitat in overview.habitats)
    total = f"{len(overview.habitats)} habitats" if len(overview.habitats) > 1 else ""
    return wide - max(0, longest - max(layout.name, len(total)))


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
        columns.append(Column(Text("container"), lambda habitat: cells.container(habitat.container, now), f"{up} up"))
    if any(habitat.set_aside for habitat in habitats):
        aside = sum(len(habitat.set_aside) for habitat in habitats)
        columns.append(Column(Text("aside"), lambda habitat: cells.set_aside(habitat, now), str(aside), "right"))
    if overview.bytes:
        columns.append(
            Column(Text("size"), lambda habitat: cells.size(habitat.bytes), cells.size(overview.bytes).plain, "right")
        )
    if layout.base == "image":
        with_it = "with base images" if overview.bytes else ""
        columns.append(Column(Text("base image"), lambda habitat: cells.base(habitat.base, now), with_it))
    elif layout.base == "age" and any(habitat.base and habitat.base.created for habitat in habitats):
        columns.append(Column(Text("base"), lambda habitat: Text(cells.base_age(habitat.base, now))))
    if layout.reasons == "beside" and any(map(cells.note, habitats)):
        columns.append(Column(Text("next"), cells.note))
    return columns


def _notes(overview: Overview) -> RenderableType | None:
    notes = {habitat.name: note for habitat in overview.habitats if (note := cells.note(habitat))}
    if not notes:
        return None
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(overflow="fold", style="bold", max_width=24)
    grid.add_column(overflow="fold")
    for name, note in notes.items():
        grid.add_row(name, note)
    return grid
