"""The output of `habitat status` on a terminal that is too narrow for a table: some lines for each habitat."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.padding import Padding
from rich.text import Text

from phases.ui.status import cells
from phases.ui.status.signs import Strip

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from rich.console import RenderableType

    from phases.core.report.states import HabitatState, Overview

# Columns before each line of a habitat but its name.
_INDENT = 2


def blocks(overview: Overview, now: datetime, *, plain: bool) -> RenderableType:
    """Return the overview as a block for each habitat, and a line of totals if there are several.

    Args:
        overview: The habitats.
        now: The time to which ages refer.
        plain: Use ASCII signs.
    """
    strip = Strip(overview.habitats, "tight", plain=plain)
    parts: list[RenderableType] = [_indented(strip.head())]
    for habitat in overview.habitats:
        parts.append(Text(habitat.name, "bold", overflow="fold"))
        parts += [_indented(line) for line in _lines(habitat, strip, now) if line]
    if len(overview.habitats) > 1:
        parts += ["", Text(_totals(overview), "dim")]
    return Group(*parts)


def _indented(line: Text) -> RenderableType:
    line.overflow = "fold"
    return Padding(line, (0, 0, 0, _INDENT))


def _lines(habitat: HabitatState, strip: Strip, now: datetime) -> Iterator[Text]:
    if not habitat.error:
        yield strip.row(habitat)
    yield cells.container(habitat.container, now)
    if habitat.set_aside:
        yield Text(f"{cells.set_aside(habitat, now).plain} set aside")
    facts = [cells.size(habitat.bytes), cells.base(habitat.base, now)]
    yield Text(", ").join(fact for fact in facts if fact)
    yield cells.note(habitat)


def _totals(overview: Overview) -> str:
    habitats = overview.habitats
    up = sum(bool(habitat.container and habitat.container.running) for habitat in habitats)
    aside = sum(len(habitat.set_aside) for habitat in habitats)
    totals = [
        f"{len(habitats)} habitats",
        f"{up} up",
        f"{aside} aside" if aside else "",
        cells.size(overview.bytes).plain,
    ]
    return ", ".join(filter(None, totals))
