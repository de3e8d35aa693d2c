"""Which engine the program uses, and how it connects to it.

A Unix socket of this machine needs nothing else. For every other route the docker package is asked (`docker_config`).
"""

from __future__ import annotations

import os
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from phases.core.engine.docker_api.api import IMAGES_PATH, LISTING_IMAGES, is_from_engine
from phases.core.engine.http import HttpClient
from phases.core.engine.transport import Route, docker_folder
from phases.core.errors import EngineUnreachable

if TYPE_CHECKING:
    from phases.core.engine.fast_path import FastResponse

_DEFAULT = "unix:///var/run/docker.sock"

# It is there in a clone of this program.
_BOOTSTRAP = Path(__file__).resolve().parents[3] / "script" / "bootstrap"

# Seconds that the engine may take to answer a ping.
_PING_TIMEOUT = 10

# Seconds that it may take to begin the prefetched response, before it is sent a ping.
_PREFETCH_TIMEOUT = 1

# Characters of an answer of something else that are shown to a person.
_LONGEST_ANSWER = 100

# The list of images that was requested in advance, until an engine is wanted.
_prefetched: list[tuple[HttpClient, FastResponse]] = []


def prefetch_images() -> None:
    """Request the list of images, unless that was done. The engine works on it until `connect` is called."""
    if not _prefetched and (route := _local_route()):
        with suppress(OSError):
            http = HttpClient(route)
            _prefetched.append((http, http.send_fast("GET", IMAGES_PATH, action=LISTING_IMAGES)))


def connect() -> tuple[HttpClient, FastResponse | None]:
    """Connect to the engine of DOCKER_HOST, else of the current docker context, else of the default socket.

    Returns:
        The client, and the prefetched response for the list of images if there is one.

    Raises:
        EngineUnreachable: No engine answers there within seconds.
    """
    if not _prefetched:
        return _ping(HttpClient(_route())), None
    http, response = _prefetched.pop()
    with suppress(OSError):
        if not response.has_begun(_PREFETCH_TIMEOUT):
            return _ping(http), response  # the engine is there, and is slow
        if is_from_engine(response):
            http.recognize(response)
            return http, response
    response.close()
    return _ping(HttpClient(_route())), None


def _ping(http: HttpClient) -> HttpClient:
    """Return the client if an engine answers it. Like docker, ask for it by a path without a version."""
    route = http.route
    try:
        with closing(HttpClient(route, _PING_TIMEOUT).send("GET", "/_ping", version="")) as response:
            if is_from_engine(response):
                http.recognize(response)
                return http
            body = " ".join(next(response.chunks(), b"").decode(errors="replace").split())
    except OSError as error:
        raise _no_engine_at(route.address, error) from error
    answer = f"'{body}'" if 0 < len(body) < _LONGEST_ANSWER and body.isprintable() else response.status
    raise EngineUnreachable(
        f"{route.address} is not a Docker engine (it answered {answer})",
        remedy="check DOCKER_HOST or `docker context ls`",
    )


def _route() -> Route:
    if route := _local_route():
        return route
    from phases.core.engine import docker_config

    return docker_config.route()


def _local_route() -> Route | None:
    """Return the route over a Unix socket of this machine, None where the environment names another."""
    path = socket_path()
    address = os.environ.get("DOCKER_HOST") or "the default socket"
    return Route(address, path) if path else None


def socket_path() -> str:
    """Return the path of the engine's Unix socket, "" where the environment names another route."""
    host = os.environ.get("DOCKER_HOST") or ("" if _may_have_context() else _DEFAULT)
    return host.removeprefix("unix://") if host.startswith("unix:///") else ""


def _may_have_context() -> bool:
    """Return whether a docker context may have been chosen, as far as can be told without the docker package."""
    if os.environ.get("DOCKER_CONTEXT"):
        return True
    try:
        return b"currentContext" in (docker_folder() / "config.json").read_bytes()
    except FileNotFoundError:
        return False
    except OSError:
        return True


def _no_engine_at(address: str, error: OSError) -> EngineUnreachable:
    """Return the error for an address where nothing answers. error: what a request there ended with."""
    does = " (script/bootstrap does on Debian and Ubuntu)" if _BOOTSTRAP.exists() else ""
    remedy = f"start it{does}, or set DOCKER_HOST"
    why = ""
    match error:
        case PermissionError():
            why, remedy = " (permission denied)", "join the group that its socket belongs to, or set DOCKER_HOST"
        case FileNotFoundError() | ConnectionError() | TimeoutError():
            pass
        case OSError(strerror=str(reason)):
            why, remedy = f" ({reason})", "check DOCKER_HOST or `docker context ls`"
    return EngineUnreachable(f"no Docker engine answers at {address}{why}", remedy=remedy)
