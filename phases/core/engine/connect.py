"""Which engine is asked, and how it is reached: on a socket of this machine by what stands here, else as the docker
package knows (`docker_package`).
"""

from __future__ import annotations

import os
from contextlib import closing, suppress
from functools import partial
from pathlib import Path

from phases.core.engine import requests
from phases.core.engine.http import Api, Reply, Way, dial, received
from phases.core.errors import EngineUnreachable

_DEFAULT = "unix:///var/run/docker.sock"

# Seconds that the engine may take to say that it is there.
_GREETING = 10

# And to begin with the answer to what was asked ahead, before it is asked whether it is there.
_HEAD_START = 1

# Signs of what somebody else says that are told.
_LONGEST = 100


def connect() -> tuple[Api, Reply | None]:
    """To the engine of DOCKER_HOST, else of the current docker context, else of the default socket; and the reply to
    what was asked ahead.

    Raises EngineUnreachable when none answers there within seconds.
    """
    if not _asked:
        return _greeted(Api(_way())), None
    api, reply = _asked.pop()
    with suppress(OSError):
        if not reply.has_begun(_HEAD_START):
            return _greeted(api), reply  # it is there, and takes its time to answer
        if is_engines(reply):
            api.recognize(reply)
            return api, reply
    reply.close()
    return _greeted(Api(_way())), None


def _greeted(api: Api) -> Api:
    """An engine's, that says it is there."""
    way = api.way
    try:
        with closing(Api(way, _GREETING).send("GET", "/_ping", version="")) as reply:
            if is_engines(reply):
                api.recognize(reply)
                return api
            said = " ".join(received(reply.socket).decode(errors="replace").split())
    except OSError as error:
        raise _nobody_at(way.address, way.trouble[-1] if way.trouble else error) from error
    words = f"'{said}'" if 0 < len(said) < _LONGEST and said.isprintable() else reply.status
    raise EngineUnreachable(
        f"no Docker engine answers at {way.address}, but somebody who says {words}",
        remedy="see DOCKER_HOST, or your docker context",
    )


def _way() -> Way:
    if way := _at_a_glance():
        return way
    from phases.core.engine import docker_config

    return docker_config.way()


def _at_a_glance() -> Way | None:
    """To a socket of this machine; None where the engine isn't at one, as far as a glance tells."""
    path = socket_path()
    return Way(os.environ.get("DOCKER_HOST") or "the default socket", partial(dial, path)) if path else None


def socket_path() -> str:
    """Of the current engine; "" where it isn't on a socket of this machine, as far as a glance tells."""
    host = os.environ.get("DOCKER_HOST") or ("" if _has_context() else _DEFAULT)
    return host.removeprefix("unix://") if host.startswith("unix:///") else ""


def _has_context() -> bool:
    """Whether a docker context may say where the engine is."""
    if os.environ.get("DOCKER_CONTEXT"):
        return True
    folder = os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker"
    try:
        return b"currentContext" in Path(folder, "config.json").read_bytes()
    except FileNotFoundError:
        return False
    except OSError:
        return True


# The reply to the question for the images, from when that is asked until an engine is wanted.
_asked: list[tuple[Api, Reply]] = []


def ask_ahead() -> None:
    """Ask for the images, if nobody has: whoever connects next has the reply, and the engine works on it meanwhile."""
    if not _asked and (way := _at_a_glance()):
        with suppress(OSError):
            api = Api(way)
            _asked.append((api, api.send("GET", requests.IMAGES, what=requests.LISTING)))


def is_engines(reply: Reply) -> bool:
    """Whether it is what an engine says, of Docker's or like it, and no refusal."""
    return reply.status == 200 and "api-version" in reply.headers


def _nobody_at(address: str, error: OSError) -> EngineUnreachable:
    """What to raise where no engine answers at all. error: what came of asking."""
    remedy = "start it (script/bootstrap does on Debian and Ubuntu), or set DOCKER_HOST"
    why = ""
    match error:
        case PermissionError():
            why, remedy = " (it is closed to you)", "be in the group that its socket belongs to, or set DOCKER_HOST"
        case FileNotFoundError() | ConnectionError() | TimeoutError():
            pass
        case OSError(strerror=str(said)):
            why, remedy = f" ({said})", "see DOCKER_HOST, or your docker context"
    return EngineUnreachable(f"no Docker engine answers at {address}{why}", remedy=remedy)
