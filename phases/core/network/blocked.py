"""Tells what was blocked while a session ran."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from phases.core import command_form, events
from phases.core.errors import HabitatError, printable
from phases.core.events.network import ConnectionBlocked
from phases.core.network import access_log

if TYPE_CHECKING:
    from phases.core.project import Project

# Hosts that the line names.
_SHOWN = 3


def report(project: Project, name: str, since: float) -> None:
    """Say which hosts were refused since a time, in seconds since 1970. name: of the habitat."""
    with suppress(HabitatError):  # the session itself has told of an engine that is gone
        rows = [row for row in access_log.read(project, name, since).requests if not row.allowed]
        for row in rows:
            project.bus.emit(ConnectionBlocked(name, printable(row.host), row.port, row.count))
        if rows:
            hosts = list(dict.fromkeys(printable(row.host) for row in sorted(rows, key=lambda row: -row.count)))
            more = f" and {len(hosts) - _SHOWN} more" if len(hosts) > _SHOWN else ""
            count = sum(row.count for row in rows)
            text = (
                f"{count} connection{'' if count == 1 else 's'} blocked: {', '.join(hosts[:_SHOWN])}{more}; "
                f"`{command_form.verb('network', name)}` lists them"
            )
            project.bus.emit(events.Notice(name, text))
