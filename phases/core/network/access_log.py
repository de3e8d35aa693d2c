"""Reads the log of a habitat's proxy: which requests it allowed, and which it refused."""

from __future__ import annotations

import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from phases.core import command_form
from phases.core.config.entry.hosts import parse
from phases.core.errors import ConfigError, StartError
from phases.core.network.proxy import proxy_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from phases.core.project import Project

# Bytes of a line. The proxy writes none that is longer, and names of hosts are at most 253 bytes.
_LONGEST = 8192

# Different hosts that are listed each by itself. A habitat can ask for any number.
_MOST_HOSTS = 1000

# The hosts of the proof, which no rule can name.
_OWN = ".habitat"

_REFUSED = "TCP_DENIED"


class _Line(Struct, frozen=True):
    t: float
    host: str
    port: str
    verdict: str


class HostRequests(Struct):
    """The requests for a port of a host that had the same outcome. Times are in UTC."""

    host: str
    port: int
    allowed: bool
    count: int
    first: datetime
    last: datetime


class AccessLog:
    """Counts the requests in the lines of a log.

    Args:
        since: The time, in seconds since 1970, from which on they count.
        on_request: Gets each request that counts.
    """

    def __init__(self, since: float = 0, on_request: Callable[[HostRequests], None] = lambda _: None) -> None:
        self._since = since
        self._on_request = on_request
        self._counts: dict[tuple[str, int, bool], HostRequests] = {}
        self._partial = b""
        #: Requests for hosts beyond those that are listed each by itself.
        self.others = 0

    def feed(self, data: bytes) -> None:
        """Read the next bytes of the log. What is no line of the proxy's is left out."""
        *lines, partial = (self._partial + data).split(b"\n")
        self._partial = partial if len(partial) <= _LONGEST else b""
        for line in lines:
            if len(line) <= _LONGEST:
                self._count(line)

    def _count(self, text: bytes) -> None:
        try:
            line = msgspec.json.decode(text, type=_Line)
            at, port = datetime.fromtimestamp(line.t, UTC), int(line.port)
        except (msgspec.DecodeError, ValueError, OverflowError, OSError):
            return
        host = line.host.lower()
        if line.t < self._since or f".{host}".endswith(_OWN):
            return
        key = (host, port, not line.verdict.startswith(_REFUSED))
        self._on_request(HostRequests(*key, 1, at, at))
        if known := self._counts.get(key):
            known.count += 1
            known.last = at
        elif len(self._counts) < _MOST_HOSTS:
            self._counts[key] = HostRequests(*key, 1, at, at)
        else:
            self.others += 1

    @property
    def requests(self) -> list[HostRequests]:
        """All requests, those that were refused first, then by host and port."""
        return sorted(self._counts.values(), key=lambda row: (row.allowed, row.host, row.port))

    @property
    def blocked(self) -> list[HostRequests]:
        """Those that were refused."""
        return [row for row in self.requests if not row.allowed]


def read(project: Project, name: str, since: float = 0) -> AccessLog:
    """Return what the habitat's proxy has logged since it was created, or since a later time, in seconds since 1970.

    name: The name of the habitat.
    """
    log = AccessLog(since)
    container = project.engine.container(proxy_name(project.names.of(name)))
    if container:
        project.engine.output(container.id, log.feed)
    return log


def follow(project: Project, name: str, on_request: Callable[[HostRequests], None]) -> None:
    """Hand on each request from now on, until the habitat's proxy stops. Raises StartError if it doesn't run."""
    container = project.engine.container(proxy_name(project.names.of(name)))
    if container is None or not container.running:
        remedy = f"`{command_form.verb('start', name)}` starts it"
        raise StartError("no container of it runs behind a gate", where=name, remedy=remedy)
    log = AccessLog(time.time(), on_request)
    project.engine.output(container.id, log.feed, follow=True)


def names_of(requests: Iterable[HostRequests]) -> list[str]:
    """Return requests as entries of `allow:`, each once. A host that was reached at usual ports alone has no port.

    A program in the habitat chooses what it asks for. So what no config may have is left out, and a wildcard, too.
    """
    ports: dict[str, set[int]] = {}
    for row in requests:
        with suppress(ConfigError):
            if not parse(f"{row.host}:{row.port}").is_wildcard:
                ports.setdefault(row.host, set()).add(row.port)
    usual = {443, 80}
    entries = []
    for host, used in sorted(ports.items()):
        entries += [host] if used & usual else []
        entries += [f"{host}:{port}" for port in sorted(used - usual)]
    return entries
