"""The events of the network of a habitat."""

from __future__ import annotations

from phases.core.events.json_event import JsonEvent


class HostRequested(JsonEvent, frozen=True):
    """A row of `habitat network`: the `count` of requests for a `port` of a `host` that were all `allowed` or all not.

    The `host` is what a program in the habitat asked for. `first` and `last` are times in UTC.
    """

    habitat: str
    host: str
    port: int
    allowed: bool
    count: int
    first: str
    last: str


class ConnectionBlocked(JsonEvent, frozen=True):
    """In a session, `count` requests for a `port` of a `host` were refused. The `host` is what a program asked for."""

    habitat: str
    host: str
    port: int
    count: int
