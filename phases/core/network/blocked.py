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
            self._report([row for row in log.requests if not row.allowed])

    def _report(self, rows: Sequence[HostRequests]) -> None:
        emit = self._project.bus.emit
        for row in rows:
            emit(ConnectionBlocked(self._name, printable(row.host), row.port, row.count))
        if rows:
            hosts = list(dict.fromkeys(printable(row.host) for row in sorted(rows, key=lambda row: -row.count)))
            more = f" and {len(hosts) - _SHOWN} more" if len(hosts) > _SHOWN else ""
            count = sum(row.count for row in rows)
            text = f"{count} connection{'' if count == 1 else 's'} blocked: {', '.join(hosts[:_SHOWN])}{more}; "
            emit(events.Notice(self._name, f"{text}`{command_form.verb('network', self._name)}` lists them"))
