"""`doit migrate:NAME`: a Dockerfile, or a config.yaml of an older kind, as a config.yaml of today."""

from __future__ import annotations

import sys
from typing import IO, TYPE_CHECKING, Any, cast

from phases.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import RenderableType

    from phases.core.migrate.command import Migration
    from phases.core.migrate.result import Row
    from phases.core.project import Project
    from phases.ui.screen import Screen

NAME = "migrate"
DESCRIPTION = "Turn its Dockerfile, or an older config.yaml, into a config.yaml"
BUILDS = False
OPTIONS: tuple[dict[str, Any], ...] = (
    {
        "name": "dry_run",
        "long": "dry-run",
        "type": bool,
        "default": False,
        "help": "show the config, and write nothing",
    },
    {
        "name": "arg",
        "long": "arg",
        "type": list,
        "default": [],
        "help": "NAME=VALUE of an ARG, as docker build --build-arg; may be repeated",
    },
    {
        "name": "remove",
        "long": "remove",
        "type": bool,
        "default": False,
        "help": "take away the Dockerfile that is needed no more",
    },
)
WORDS = False
PIPES = False


def run(project: Project, name: str, *, dry_run: bool = False, arg: Sequence[str] = (), remove: bool = False) -> None:
    # Here, so that making tasks loads neither rich nor what reads and writes the two kinds of files.
    from phases.core.migrate import command
    from phases.ui.output import Output
    from phases.ui.screen import Screen

    screen = Screen(cast("IO[str]", Output(sys.stdout)))
    if remove:
        if dry_run or arg:
            raise ConfigError("--remove goes alone", where=name, remedy="leave the other options out")
        removed = command.remove(project, name)
        screen.plain(f"{name}: removed {' and '.join(removed)}" if removed else f"{name}: nothing to remove")
        return
    found = command.migrate(project, name, dict(map(_pair, arg)))
    if found is None:
        screen.plain(f"{name}: nothing to migrate")
        return
    if dry_run:
        _show_files(screen, found)
    else:
        command.write(project, found)
    for part in _report(found, written=not dry_run, wrap=screen.live):
        screen.line(part)


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise ConfigError(f"--arg {text!r} is not NAME=VALUE", remedy="write it like --arg VERSION=1.2")
    return name, value


def _show_files(screen: Screen, found: Migration) -> None:
    for title, text in (("config.yaml", found.config), ("Dockerfile.rest", found.rest)):
        if text:
            screen.plain(f"# habitats/{found.name}/{title}", style="bold")
            for line in text.splitlines():
                screen.plain(line)
            screen.plain("")


def _report(found: Migration, *, written: bool, wrap: bool) -> Iterator[RenderableType]:
    from rich.text import Text

    yield Text(found.name, style="bold")
    for title, rows in (("config.yaml", found.older), ("Dockerfile", found.rows)):
        carried = [row for row in rows if row.place]
        lost = [row for row in rows if not row.place]
        if carried:
            yield Text(f"  {title}", style="bold")
            yield _table(carried, wrap=wrap)
        if lost:
            yield Text(f"  {title}, not carried over", style="bold")
            yield _table(lost, wrap=wrap)
    for warning in found.warnings:
        yield Text(f"  ⚠ {warning}", style="yellow")
    first, *others = _outcome(found, written=written)
    yield Text(f"⇒ {first}", style="bold")
    yield from (Text(f"  {line}") for line in others)


def _table(rows: Sequence[Row], *, wrap: bool) -> RenderableType:
    """Line, instruction, and where it went or why not. For a pipe: one, a line."""
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    cells = [(f"{row.line}", _shortened(row.text), _where(row)) for row in rows]
    wide = max(len(text) for _, text, _ in cells)
    if not wrap:
        return Text("\n".join(f"    {line:>4}  {text:<{wide}}  {where}" for line, text, where in cells))
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(justify="right", style="dim", no_wrap=True)
    grid.add_column(no_wrap=True, overflow="ellipsis", ratio=1, max_width=wide)
    grid.add_column(overflow="fold", ratio=1)
    for line, text, where in cells:
        grid.add_row(line, Text(text), Text(where, style="" if where[0] == "→" else "yellow"))
    return Padding(grid, (0, 0, 0, 4))


# Signs of an instruction that its row in the report shows.
_SHOWN = 48


def _shortened(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


def _where(row: Row) -> str:
    if not row.place:
        return row.why
    return f"→ {row.place}" + (f" ({row.why})" if row.why else "")


def _outcome(found: Migration, *, written: bool) -> Iterator[str]:
    names = " and ".join(["config.yaml", *(["Dockerfile.rest"] if found.rest else [])])
    if not written:
        yield f"nothing was written: doit migrate:{found.name} writes {names}"
        return
    yield f"wrote {names}: doit start:{found.name} builds it"
    if found.before is not None:
        yield "what was there is in config.yaml.before-migration"
    if _is_left(found):
        yield f"the Dockerfile is left until doit migrate:{found.name} --remove"


def _is_left(found: Migration) -> bool:
    return bool(found.rows) and not any(row.place == "Dockerfile" for row in found.rows)
