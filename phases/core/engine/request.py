"""Asking an engine something, and being told: requests, and the errors that what comes of them is to us."""

from __future__ import annotations

import json
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

from phases.core.engine.http import JSON, TAR, gone, refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from phases.core.engine.http import Api, Reply
    from phases.core.errors import EngineError


# Signs of a reason that isn't the engine's.
_LONGEST = 200


def nothing() -> None: ...


class Asking:
    """Whoever asks an engine, by its API."""

    def __init__(self, api: Api) -> None:
        self.address = api.address
        self.patience = api.patience
        self._api = api

    def _send(
        self, what: str, method: str, where: str, body: Any = None, *, sent: Callable[[], None] = nothing, **how: Any
    ) -> Reply:
        """Send a request, and wait for the head of the reply, which is to be closed. what: is being done; body: a tar
        as it is, anything else as JSON; sent: as of `remove`. Raises EngineError.
        """
        is_tar = hasattr(body, "read")
        data = body if is_tar else b"" if body is None else json.dumps(body).encode()
        try:
            reply = self._api.send(method, where, data, TAR if is_tar else JSON, what=what, **how)
            if self._api.carries_on:
                sent()
            try:
                if reply.status < 400:
                    return reply
                reason = _reason(reply)
            except BaseException:
                reply.close()
                raise
            reply.close()
        except OSError as error:
            raise gone(what) from error
        raise self._refusal(what, reply.status, reason)

    def _refusal(self, what: str, status: int, reason: str) -> EngineError:
        return refusal(what, status, reason)

    @contextmanager
    def _reply(self, what: str, method: str, where: str, body: Any = None, **how: Any) -> Iterator[Reply]:
        """The same, closed in the end. Raises EngineError also for what is met when it is read."""
        with closing(self._send(what, method, where, body, **how)) as reply:
            try:
                yield reply
            except OSError as error:
                raise gone(what) from error

    def _ask(self, what: str, method: str, where: str, body: Any = None, **how: Any) -> Any:
        """What a request is answered with; None for nothing."""
        with self._reply(what, method, where, body, **how) as reply:
            return told(reply)


def told(reply: Reply) -> Any:
    """The JSON that a reply is, None where it isn't. Raises OSError for what should be, and isn't."""
    data = reply.body()
    if not reply.headers.get("content-type", "").startswith(JSON):
        return None
    try:
        return json.loads(data) if data else None
    except ValueError as error:
        raise ConnectionError("the answer is not what it says to be") from error


def _reason(reply: Reply) -> str:
    """Why the engine has refused."""
    text = reply.body().decode(errors="replace")
    try:
        return str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        # The words of somebody in between, which may be a page.
        line = " ".join(text.split())
        return line if 0 < len(line) < _LONGEST and not line.startswith("<") else f"the engine says {reply.status}"
