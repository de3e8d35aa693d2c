"""Requests to an engine's HTTP API, whichever way they go: `socket_api` to a socket of this machine, with nothing
else, `package_api` through the docker package to wherever that can.
"""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Protocol

from phases.core.errors import Conflict, EngineError, EngineUnreachable, NotFound, full_disk_remedy

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator, Mapping

#: Seconds that the engine may take to say that it is there.
GREETING = 10

#: Seconds it may take to answer. Commits of gigabytes take a while.
PATIENCE = 600

#: Bytes that are read at a time.
CHUNK = 65536

JSON, TAR = "application/json", "application/x-tar"


class Line(Protocol):
    """The bare connection over which a command is spoken to, once the engine has handed it over."""

    @property
    def socket(self) -> socket.socket:
        """Without a timeout: a command may be silent for hours."""

    def close(self) -> None: ...


class Reply(Protocol):
    """An answer as it comes: each of these waits for it, and may raise OSError. To be closed, unless one has the line.

    headers: by names in lower case.
    """

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Mapping[str, str]: ...

    def body(self) -> bytes:
        """To its end."""

    def chunks(self) -> Iterator[bytes]:
        """As they come, however long that takes."""

    def line(self) -> Line:
        """What the engine has handed over; closing that closes this."""

    def close(self) -> None: ...


class Api(Protocol):
    """address: where the engine is, as a person would write it; patience: seconds that it may be silent for;
    carries_on: whether the engine does what was sent although nobody waits for the reply.
    """

    address: str
    patience: float
    carries_on: bool

    def send(
        self, method: str, path: str, body: bytes | IO[bytes] = b"", kind: str = JSON, *, hands_over: bool = False
    ) -> Reply:
        """Send a request. path: with its query, all quoted; kind: of the body; hands_over: whether the connection is
        to be handed over. Raises OSError where it can't be sent.
        """


def refusal(what: str, status: int, reason: str) -> EngineError:
    """What to raise where the engine has answered with `status` to `what` was asked of it."""
    kind = {404: NotFound, 409: Conflict}.get(status, EngineError)
    reason = reason.strip().rstrip(".")
    return kind(f"{what}: {reason}", remedy=full_disk_remedy(reason))


def gone(what: str) -> EngineUnreachable:
    """What to raise where the engine hasn't answered any more."""
    return EngineUnreachable(f"{what}: the engine stopped answering", remedy="see that it runs, then do the same again")


def nobody_at(address: str, error: BaseException | None = None) -> EngineUnreachable:
    """What to raise where no engine answers at all. error: what came of asking, None for an answer that is none's."""
    remedy = "start it (script/bootstrap does on Debian and Ubuntu), or set DOCKER_HOST"
    why = ""
    match _root(error):
        case PermissionError():
            why, remedy = " (it is closed to you)", "be in the group that its socket belongs to, or set DOCKER_HOST"
        case None | FileNotFoundError() | ConnectionError() | TimeoutError():
            pass
        case OSError(strerror=said):
            why, remedy = f" ({said})", "see DOCKER_HOST, or your docker context"
    return EngineUnreachable(f"no Docker engine answers at {address}{why}", remedy=remedy)


def _root(error: BaseException | None) -> OSError | None:
    """The first of what led to an error that the operating system said."""
    found = None
    while error:
        if isinstance(error, OSError) and error.strerror:
            found = error
        error = error.__cause__ or error.__context__
    return found
