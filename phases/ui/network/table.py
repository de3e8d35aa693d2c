"""The table of `habitat network`, its list for a config, and the proofs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from phases.core import command_form
from phases.core.errors import printable
from phases.core.events.network import HostRequested
from phases.ui.tables import columns

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

    from rich.console import RenderableType

    from phases.core.model import Habitat
    from phases.core.network.access_log import AccessLog, HostRequests
    from phases.core.network.allowed import HostChanges
    from phases.core.network.proof import Proof

_HEADS = ("host", "port", "", "requests", "first", "last")

# Characters of a host. A name of DNS has at most 253.
_LONGEST = 253


def event(habitat: str, row: HostRequests) -> HostRequested:
    """Return a row as an event."""
    first, last = _utc(row.first), _utc(row.last)
    return HostRequested(habitat, _host(row), row.port, row.allowed, row.count, first, last)


def parts(name: str, log: AccessLog, changes: HostChanges, habitat: Habitat, *, wrap: bool) -> Iterator[RenderableType]:
    """Yield the table, and what a person can do. wrap: for a terminal, which has a width."""
    rows = [_row(row) for row in log.requests]
    if rows:
        yield columns.columns(_HEADS, rows, wrap=wrap)
    else:
        yield Text("it has asked for no host since its proxy was created")
    if log.others:
        yield Text(f"… and {log.others} requests for other hosts", style="dim")
    if blocked := log.blocked:
        command = f"`{command_form.verb('allow', name)} {_host(blocked[0])}`"
        yield Text(f"\n{command} allows the first one at once", style="dim")
    if habitat.entry.learns:
        yield Text("\nlearn: true allows every host; --as-config prints what was reached as a list", style="dim")
    for text in changes.allow:
        yield Text(f"allowed for now: {text}", style="yellow")
    for text in changes.deny:
        yield Text(f"refused for now: {text}", style="yellow")


def line(row: HostRequests) -> Text:
    """Return one request as a line."""
    at, outcome = _time(row.last), _outcome(row)
    return Text.assemble(at, "  ", outcome, f"  {_host(row)}:{row.port}")


def config(entries: Sequence[str]) -> list[Text]:
    """Return the lines of a config that allow some hosts."""
    if not entries:
        return [Text("entry: {network: {allow: []}}")]
    quoted = (f"'{entry}'" if entry.startswith("*") else printable(entry) for entry in entries)
    return [Text("entry:"), Text("  network:"), Text("    allow:"), *(Text(f"      - {entry}") for entry in quoted)]


def proofs(rows: Iterable[Proof]) -> list[Text]:
    """Return a line for each proof."""
    signs = {True: ("✓", "green"), False: ("✗", "red")}
    return [Text.assemble(signs[row.holds], f" {printable(row.text)}") for row in rows]


def _utc(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _host(row: HostRequests) -> str:
    return printable(row.host[:_LONGEST])


def _row(row: HostRequests) -> tuple[Text, ...]:
    return Text(_host(row)), Text(str(row.port)), _outcome(row), Text(str(row.count)), _time(row.first), _time(row.last)


def _outcome(row: HostRequests) -> Text:
    return Text("allowed", style="green") if row.allowed else Text("blocked", style="red")


def _time(at: datetime) -> Text:
    return Text(f"{at.astimezone():%d %b %H:%M:%S}")
