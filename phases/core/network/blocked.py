"""Tells what was blocked while a session ran."""

from __future__ import annotations

import math
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from phases.core import command_form, events
from phases.core.errors import HabitatError, printable
from phases.core.events.network import ConnectionBlocked
from phases.core.network import access_log

if TYPE_CHECKING:
    from collections.abc import Sequence

    from phases.core.network.access_log import HostRequests
    from phases.core.project import Project

# Hosts that the line names.
_SHOWN = 3


def summary(name: str, rows: Sequence[HostRequests]) -> str:
    """Return a line about refused requests, "" for none. name: of the habitat."""
    if not rows:
        return ""
    hosts = list(dict.fromkeys(printable(row.host) for row in sorted(rows, key=lambda row: -row.count)))
    more = f" and {len(hosts) - _SHOWN} more" if len(hosts) > _SHOWN else ""
    count = sum(row.count for row in rows)
    text = f"{count} connection{'' if count == 1 else 's'} blocked: {', '.join(hosts[:_SHOWN])}{more}"
    return f"{text}; `{command_form.verb('network', name)}` lists them"


class BlockedReport:
    """Tells at the end of a session which hosts were refused in it. A companion of the session.

    Args:
        project: The project.
        name: The name of the habitat.
    """

    def __init__(self, project: Project, name: str) -> None:
        self._project = project
        self._name = name
        self._since = math.inf

    def start(self) -> None:
        self._since = time.time()

    def close(self) -> None:
        with suppress(HabitatError):  # the session itself tells of an engine that is gone
            log = access_log.read(self._project, self._name, self._since)
            for row in log.blocked:
                self._project.bus.emit(ConnectionBlocked(self._name, printable(row.host), row.port, row.count))
            if text := summary(self._name, log.blocked):
                self._project.bus.emit(events.Notice(self._name, text))
