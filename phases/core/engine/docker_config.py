"""What the docker package knows of this machine: which docker context is chosen and how one is reached, and who may
have images from where. The one module that imports it.
"""

from __future__ import annotations

import os
import socket
import ssl
import warnings
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from docker import auth, utils
from docker.context import ContextAPI
from docker.context.config import get_current_context_name
from docker.errors import DockerException, TLSParameterError

from phases.core.engine import tls
from phases.core.engine.http import Way, dial
from phases.core.errors import EngineError, EngineUnreachable

if TYPE_CHECKING:
    from collections.abc import Callable

    from docker.tls import TLSConfig


def way() -> Way:
    """To the engine of DOCKER_HOST, else of the docker context. Raises EngineUnreachable for what leads to none."""
    host = os.environ.get("DOCKER_HOST", "")
    context = None if host else _context()
    shown = context.Host if context else host
    if shown.startswith("ssh://"):
        place, there = "/tmp/docker.sock", "/var/run/docker.sock"  # noqa: S108 (said to a person)
        remedy = f"ssh -NL {place}:{there} {shown} makes it a socket of this machine, for DOCKER_HOST=unix://{place}"
        raise EngineUnreachable(f"no engine is asked by ssh, as that of {shown} would be", remedy=remedy)
    try:
        return _way(shown, context.TLSConfig if context else _chosen_tls())
    except (DockerException, OSError, ValueError) as error:
        why = str(error).partition(". ")[0]
        remedy = "see DOCKER_HOST and DOCKER_CERT_PATH, or your docker context"
        raise EngineUnreachable(f"{shown} leads to no engine ({why})", remedy=remedy) from error


def _chosen_tls() -> TLSConfig | None:
    """Of the environment. Unlike the package, and like docker, it isn't wanted just because there are certificates."""
    if not os.environ.get("DOCKER_TLS_VERIFY") and not os.environ.get("DOCKER_TLS"):
        return None
    try:
        return utils.kwargs_from_env().get("tls")
    except TLSParameterError as error:
        folder = os.environ.get("DOCKER_CERT_PATH") or "~/.docker"
        raise ValueError(f"cert.pem and key.pem are not both in {folder}") from error


def _context() -> Any:
    """The docker context that is chosen. The package has no types for it, and no exception of its own."""
    name = os.environ.get("DOCKER_CONTEXT") or get_current_context_name() or "default"
    remedy = "docker context ls shows those that there are"
    try:
        context = ContextAPI.get_context(name)
    except Exception as error:
        raise EngineUnreachable(f"the docker context can't be read ({error})", remedy=remedy) from error
    if context is None:
        raise EngineUnreachable(f"there is no docker context {name}", remedy=remedy)
    return context


def _way(address: str, config: TLSConfig | None) -> Way:
    url = urlsplit(utils.parse_host(address, tls=bool(config)))
    if url.scheme == "http+unix":
        return Way(address, partial(dial, url.path))
    if url.hostname is None or url.scheme not in ("http", "https"):
        raise ValueError("it is no URL of a host")
    url.hostname.encode("idna")  # as it will be; a UnicodeError is a ValueError
    place, root = (url.hostname, url.port or 80), url.path.rstrip("/")
    if url.scheme == "http":
        return Way(address, partial(_dial, place), url.netloc, root)
    trouble: deque[OSError] = deque(maxlen=1)
    dial_safely = partial(_dial_safely, place, _tls(config), trouble.append)
    # A thread of this process has it on its way.
    return Way(address, dial_safely, url.netloc, root, carries_on=False, trouble=trouble)


def _tls(config: TLSConfig | None) -> ssl.SSLContext:
    """Raises OSError for certificates that are none."""
    context = ssl.create_default_context(cafile=config.ca_cert if config else None)
    if config and not config.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if config and config.cert:
        context.load_cert_chain(*config.cert)
    return context


def _dial(place: tuple[str, int], patience: float) -> socket.socket:
    line = socket.create_connection(place, patience)
    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    line.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)  # a command may be silent for hours
    return line


def _dial_safely(
    place: tuple[str, int], context: ssl.SSLContext, on_error: Callable[[OSError], None], patience: float
) -> socket.socket:
    line = _dial(place, patience)
    try:
        return tls.bridged(line, context, place[0], on_error)
    except BaseException:
        line.close()
        raise


# Who may have what


class Login(NamedTuple):
    """headers: of a request, that tell who asks; trouble: why they don't, "" where they do or nobody is known."""

    headers: dict[str, str]
    trouble: str


def parts(reference: str) -> tuple[str, str]:
    """A repository, and the tag or digest of an image in it. Raises EngineError."""
    try:
        repository, tag = utils.parse_repository_tag(reference)
        auth.resolve_repository_name(repository)
    except DockerException as error:
        raise EngineError(f"pulling {reference}: {error}") from error
    return repository, tag or "latest"


def login_to_pull(repository: str) -> Login:
    registry, _ = auth.resolve_repository_name(repository)
    return _login("X-Registry-Auth", lambda known: known.resolve_authconfig(registry))


def login_to_build() -> Login:
    """For a build, which may begin with an image from anywhere."""
    return _login("X-Registry-Config", _all)


def _all(known: Any) -> Any:
    logins = known.get_all_credentials()
    if auth.INDEX_NAME in logins:
        logins.setdefault(auth.INDEX_URL, logins[auth.INDEX_NAME])  # as which the builder knows it
    return logins


def _login(header: str, ask: Callable[[Any], Any]) -> Login:
    """As docker's config, and the programs named there, know it. Where those can't tell, what everybody may have can
    be had all the same, as docker itself sees it.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found = ask(auth.load_config())
            return Login({header: auth.encode_header(found).decode()} if found else {}, "")
        except Exception as error:  # noqa: BLE001 (whatever the package makes of what stands there)
            return Login({}, f"docker's own config doesn't tell who asks: {' '.join(str(error).split())}")
