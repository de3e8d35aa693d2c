"""`habitat migrate NAME`: convert a Dockerfile, or a config.yaml with old keys, to a config.yaml of today."""

from __future__ import annotations

import sys
from typing import IO, TYPE_CHECKING, Any, cast

from phases.core import command_form
from phases.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rich.console import RenderableType

    from phases.core.migrate.command import Migration
    from phases.core.migrate.result import ReportRow
    from phases.core.project import Project
    from phases.ui.screen import Screen

NAME = "migrate"
DESCRIPTION = "Convert its Dockerfile or older config"
EXAMPLE = ("migrate", "--dry-run")
BUILDS = False
HARMLESS = False
OPTIONS: tuple[dict[str, Any], ...] = (
    {
        "name": "dry_run",
        "long": "dry-run",
        "type": bool,
        "default": False,
        "help": "show the new files, and write nothing",
    },
    {
        "name": "arg",
        "long": "arg",
        "type": list,
        "default": [],
        "metavar": "NAME=VALUE",
        "help": "set an ARG, written NAME=VALUE, as docker build --build-arg does; may be repeated",
    },
    {
        "name": "split",
        "long": "split",
        "type": bool,
        "default": False,
        "help": "run what is before a COPY --from or an ADD after it, build both ways, and show what differs",
    },
    {
        "name": "remove",
        "long": "remove",
        "type": bool,
        "default": False,
        "help": "remove the Dockerfile, once the habitat was built without it",
    },
)
WORDS = False
PIPES = False


def run(
    project: Project,
    name: str,
    *,
    dry_run: bool = False,
    arg: Sequence[str] = (),
    split: bool = False,
    remove: bool = False,
) -> None:
    # Here, so that making the tasks loads none of it.
    from phases.core.migrate import command
    from phases.ui.output import GuardedStream
    from phases.ui.screen import Screen

    screen = Screen(cast("IO[str]", GuardedStream(sys.stdout)))
    if remove:
        if dry_run or arg or split:
            raise ConfigError("--remove takes no other option", where=name, remedy="leave the others out")
        removed = command.remove(project, name)
        screen.plain(f"{name}: removed {' and '.join(removed)}" if removed else f"{name}: nothing to remove")
        return
    if split:
        if dry_run:
            raise ConfigError("--split builds, and --dry-run doesn't", where=name, remedy="leave one of them out")
        _split(screen, project, name, dict(map(_pair, arg)))
        return
    migration = command.migrate(project, name, dict(map(_pair, arg)))
    if migration is None:
        screen.plain(f"{name}: nothing to migrate")
        return
    if dry_run:
        _show_files(screen, migration)
    else:
        command.write(project, migration)
    for part in _report(migration, written=not dry_run, wrap=screen.live):
        screen.line(part)


def _split(screen: Screen, project: Project, name: str, build_args: Mapping[str, str]) -> None:
    from phases.core.migrate.split import split

    result = split(project, name, build_args)
    if result is None:
        screen.plain(f"{name}: nothing to migrate")
        return
    for part in _report(result.migration, written=True, wrap=screen.live):
        screen.line(part)
    if result.differences is None:
        screen.plain("  there was nothing to split")
    elif not result.differences:
        screen.plain("  both ways build the same image")
    else:
        screen.plain("  the images differ, with the one in the order of the Dockerfile on the left:", style="yellow")
        for line in result.differences[:_MOST_DIFFERENCES]:
            screen.plain(f"    {line}")
        if (more := len(result.differences) - _MOST_DIFFERENCES) > 0:
            screen.plain(f"    and {more} more")
        backup = result.migration.backup
        back = f"mv {backup} config.yaml" if backup else "rm config.yaml"
        screen.plain(f"  for the order of the Dockerfile: {back} in {name}/, and migrate without --split")


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise ConfigError(f"--arg {text!r} is not NAME=VALUE", remedy="write it like --arg VERSION=1.2")
    return name, value


def _show_files(screen: Screen, migration: Migration) -> None:
    folder = f"habitats/{migration.name}"
    config = migration.config if migration.changes_config else ""
    texts = [(f"{folder}/config.yaml", config), (f"{folder}/Dockerfile.rest", migration.rest)]
    for title, text in (*texts, *((layer.shown, layer.text) for layer in migration.layers)):
        if text:
            screen.plain(f"# {title}", style="bold")
            for line in text.splitlines():
                screen.plain(line)
            screen.plain("")


def _report(migration: Migration, *, written: bool, wrap: bool) -> Iterator[RenderableType]:
    from rich.text import Text

    yield Text(migration.name, style="bold")
    layers = [(layer.shown, layer.rows) for layer in migration.layers]
    for title, rows in (*layers, ("config.yaml", migration.legacy_rows), ("Dockerfile", migration.rows)):
        carried = [row for row in rows if row.place]
        lost = [row for row in rows if not row.place]
        if carried:
            yield Text(f"  {title}", style="bold")
            yield _table(carried, wrap=wrap)
        if lost:
            yield Text(f"  {title}, not converted", style="bold")
            yield _table(lost, wrap=wrap)
    for warning in migration.warnings:
        yield Text(f"  ⚠ {warning}", style="yellow")
    if migration.problems:
        yield Text("  still to be changed by you, with the lines of the new files", style="bold")
        yield from (Text(f"    {problem}", style="yellow") for problem in migration.problems)
    first, *others = _outcome(migration, written=written)
    yield Text(f"⇒ {first}", style="bold")
    yield from (Text(f"  {line}") for line in others)


def _table(rows: Sequence[ReportRow], *, wrap: bool) -> RenderableType:
    """Return a table of lines, instructions and places; one row per line of text for a pipe."""
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


# Lines about what differs between two images.
_MOST_DIFFERENCES = 40

# Characters of an instruction that the table shows.
_SHOWN = 48


def _shortened(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


def _where(row: ReportRow) -> str:
    if not row.place:
        return row.why
    return f"→ {row.place}" + (f" ({row.why})" if row.why else "")


def _outcome(migration: Migration, *, written: bool) -> Iterator[str]:
    files = ["config.yaml"] if migration.changes_config else []
    files += ["Dockerfile.rest"] if migration.rest else []
    names = " and ".join([*files, *(layer.shown for layer in migration.layers if layer.text is not None)])
    if not written:
        yield f"wrote nothing: `{command_form.verb('migrate', migration.name)}` writes {names}"
        return
    next_step = "change what is listed above, then " if migration.problems else ""
    yield f"wrote {names}: {next_step}`{command_form.verb('start', migration.name)}` builds it"
    if migration.backup and migration.changes_config:
        yield f"the old config.yaml is now {migration.backup}"
    if migration.backup_of_rest:
        yield f"the old Dockerfile.rest is now {migration.backup_of_rest}"
    for layer in migration.layers:
        if layer.backup:
            yield f"the old {layer.shown} is now {layer.folder.name}/{layer.backup}"
    if _leaves_dockerfile(migration):
        remove = command_form.verb("migrate", migration.name, "--remove")
        yield f"`{remove}` removes the Dockerfile, once the habitat is built"


def _leaves_dockerfile(migration: Migration) -> bool:
    """Return whether a Dockerfile remains that the new config doesn't use."""
    return bool(migration.rows) and not any(row.place == "Dockerfile" for row in migration.rows)
