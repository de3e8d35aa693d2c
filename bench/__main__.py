"""Measure the rows and print the table: `script/bench [ROW…] [--runs N] [--json | --markdown]`."""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from bench import physical
from bench.measure import take_turns
from bench.rows import ROWS
from bench.site import Site

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.measure import Side
    from bench.rows import Row


def main() -> int:
    """Print the table. Return 1 if a target is not reached, or a row could not be measured, else 0."""
    parser = argparse.ArgumentParser(prog="script/bench", description="Times ours beside the tools it replaces.")
    parser.add_argument(
        "rows", nargs="*", choices=[[], *ROWS, physical.NAME], help="all of them, unless some are named"
    )
    parser.add_argument("--runs", type=int, default=5, help="of each side, after one that doesn't count [5]")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="every figure, for machines")
    form.add_argument("--markdown", action="store_true", help="as docs/performance.md has it")
    options = parser.parse_args()
    rows = options.rows or [physical.NAME, *ROWS]
    with tempfile.TemporaryDirectory() as folder:
        site = Site(Path(folder))
        site.clear()
        measured = {name: sides for name in rows if (sides := _measure(name, site, options.runs))}
    if options.json:
        print(
            json.dumps({"machine": _machine(site), "rows": {name: _figures(name, s) for name, s in measured.items()}})
        )
    elif options.markdown:
        print(*_markdown(measured, _machine(site), options.runs), sep="\n")
    else:
        _show(measured, _machine(site), options.runs)
    reached = all(_reached(name, sides) or not ROWS[name].TARGETS for name, sides in measured.items() if name in ROWS)
    return 0 if reached and len(measured) == len(rows) else 1


def _measure(name: str, site: Site, runs: int) -> list[Side]:
    """Measure a row and return its sides, none if a side fails; the other rows are measured all the same.

    Everything that the row created on the engine is removed, since a thousand more images make an engine slower.
    """
    print(f"{name} …", file=sys.stderr, flush=True)
    row: Row | Any = ROWS.get(name, physical)
    try:
        sides: list[Side] = row.sides(site)
        take_turns(sides, runs)
    except RuntimeError as error:
        print(f"{name}: {error}", file=sys.stderr, flush=True)
        return []
    finally:
        site.clear()
    return sides


def _ratio(sides: list[Side]) -> float:
    ours, theirs = sides[:2]
    return ours.median / theirs.median


def _figures(name: str, sides: list[Side]) -> dict[str, Any]:
    row = {"ratio": round(_ratio(sides), 3), "targets": list(map(str, ROWS[name].TARGETS))} if name in ROWS else {}
    return {**row, "sides": {side.name: side.figures for side in sides}}


_HEADINGS = ("work", "side", "median", "from … to", "ratio", "to reach", "")


def _show(measured: dict[str, list[Side]], machine: str, runs: int) -> None:
    table = Table(title=f"Medians of {runs} runs; {machine}", title_justify="left")
    for heading in _HEADINGS:
        table.add_column(heading, justify="left" if heading in ("work", "side", "") else "right")
    for name, sides in measured.items():
        for cells in _rows(name, sides):
            table.add_row(*cells)
        table.add_section()
    Console(width=None if sys.stdout.isatty() else 160).print(table)


def _markdown(measured: dict[str, list[Side]], machine: str, runs: int) -> Iterator[str]:
    yield f"Medians of {runs} runs; {machine}."
    yield ""
    yield f"| {' | '.join(_HEADINGS)} |"
    yield "|---|---|--:|--:|--:|--:|---|"
    for name, sides in measured.items():
        for cells in _rows(name, sides):
            yield f"| {' | '.join(cells)} |"


def _rows(name: str, sides: list[Side]) -> Iterator[tuple[str, ...]]:
    """Yield the cells of each side of a row; those of the whole row are in the line of the first side."""
    for number, side in enumerate(sides):
        of_row = _verdict(name, sides) if number == 0 and name in ROWS else ("", "", "")
        work = (ROWS[name].WORK if name in ROWS else physical.WORK) if number == 0 else ""
        span = f"{_shown(min(side.figures))} … {_shown(max(side.figures))}"
        yield (work, side.name, _shown(side.median), span, *of_row)


def _verdict(name: str, sides: list[Side]) -> tuple[str, str, str]:
    targets, reached = ROWS[name].TARGETS, _reached(name, sides)
    verdict = "reached" if reached == len(targets) else "the first is" if reached else "not reached"
    return f"{_ratio(sides):.2f}", ", then ".join(map(str, targets)), verdict if targets else ""


def _reached(name: str, sides: list[Side]) -> int:
    """Return how many of a row's targets are reached."""
    return sum(target.reached(*sides[:2]) for target in ROWS[name].TARGETS)


def _shown(figure: float) -> str:
    """Return a figure with its unit: bytes if it is large, else seconds."""
    if figure >= 10_000:
        return f"{figure / 1e6:,.1f} MB"
    return f"{figure:.3f} s" if figure < 10 else f"{figure:.1f} s"


def _machine(site: Site) -> str:
    cores = len(Path("/proc/cpuinfo").read_text().split("processor\t")) - 1
    form = "{{.Client.Version}}, engine {{.Server.Version}}"
    ask = [site.docker, "version", "--format", form]
    engine = subprocess.run(ask, check=True, capture_output=True, text=True).stdout.strip()
    return f"{cores} cores, Python {platform.python_version()}, doit {version('doit')}, docker {engine}"


if __name__ == "__main__":
    sys.exit(main())
