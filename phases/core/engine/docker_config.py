"""Docker's own configuration, read with the docker package, which only this module imports.

It holds the docker context with its route and certificates, and the logins at registries.
"""

from __future__ import annotations

import os
import ssl
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from docker import auth, utils
from docker.context import ContextAPI
from docker.context.config import get_current_context_name
from docker.errors import DockerException, TLSParameterError

from phases.core.engine.transport import Route
from phases.core.errors import EngineError, EngineUnreachable

if TYPE_CHECKING:
    from collections.abc import Callable

    from docker.tls import TLSConfig


def route() -> Route:
    """Return the route to the engine of DOCKER_HOST, else of the docker context.

    Raises:
        EngineUnreachable: The address or the context leads to no engine.
    """
    host = os.environ.get("DOCKER_HOST", "")
    context = None if host else _context()
    address = context.Host if context else host
    if address.startswith("ssh://"):
        local, remote = "/tmp/docker.sock", "/var/run/docker.sock"  # noqa: S108 (an example for the person)
        remedy = f"run `ssh -NL {local}:{remote} {address}` and set DOCKER_HOST=unix://{local}"
        raise EngineUnreachable(f"engines behind ssh are not supported: {address}", remedy=remedy)
    try:
        return _route(address, context.TLSConfig if context else _environment_tls())
    except (DockerException, OSError, ValueError) as error:
        why = str(error).partition(". ")[0]
        remedy = "check DOCKER_HOST and DOCKER_CERT_PATH, or `docker context ls`"
        raise EngineUnreachable(f"{address} leads to no engine ({why})", remedy=remedy) from error


def _environment_tls() -> TLSConfig | None:
    """Return the TLS settings of the environment.

    Like docker, and unlike the docker package, this uses TLS only if asked to, not because there are certificates.
    """
    if not os.environ.get("DOCKER_TLS_VERIFY") and not os.environ.get("DOCKER_TLS"):
        return None
    try:
        return utils.kwargs_from_env().get("tls")
    except TLSParameterError as error:
        folder = os.environ.get("DOCKER_CERT_PATH") or "~/.docker"
        needed = ["cert.pem", "key.pem", *(["ca.pem"] if os.environ.get("DOCKER_TLS_VERIFY") else [])]
        place = os.path.expanduser(folder)  # noqa: PTH111 (raises nothing for an account without a home folder)
        missing = [name for name in needed if not Path(place, name).is_file()]
        names = " and ".join(filter(None, [", ".join(missing[:-1]), *missing[-1:]]))
        raise ValueError(f"{names} {'is' if len(missing) == 1 else 'are'} missing in {folder}") from error


def _context() -> Any:
    """Return the current docker context. The package has neither types nor an exception for it."""
    name = os.environ.get("DOCKER_CONTEXT") or get_current_context_name() or "default"
    remedy = "`docker context ls` lists the contexts"
    try:
        context = ContextAPI.get_context(name)
    except Exception as error:
        raise EngineUnreachable(f"the docker context can't be read ({error})", remedy=remedy) from error
    if context is None:
        raise EngineUnreachable(f"there is no docker context {name}", remedy=remedy)
    return context


def _route(address: str, config: TLSConfig | None) -> Route:
    url = urlsplit(utils.parse_host(address, tls=bool(config)))
    if url.scheme == "http+unix":
        return Route(address, url.path)
    if url.hostname is None or url.scheme not in ("http", "https"):
        raise ValueError("it is no URL of a host")
    url.port  # noqa: B018 (a ValueError for a number that is no port)
    url.hostname.encode("idna")  # a UnicodeError, which is a ValueError, for a name that can't be resolved
    context = _ssl_context(config) if url.scheme == "https" else None
    return Route(address, url=url.geturl().rstrip("/"), tls=context)


def _ssl_context(config: TLSConfig | None) -> ssl.SSLContext:
    """Return the context for connections. Raise OSError for certificates that can't be loaded."""
    context = ssl.create_default_context(cafile=config.ca_cert if config else None)
    if config and not config.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if config and config.cert:
        context.load_cert_chain(*config.cert)
    return context


# Logins at registries


class Login(NamedTuple):
    """A login as a request carries it.

    Attributes:
        headers: The headers with the login, none for an anonymous request.
        problem: Why the login can't be read, "" where it can, or where there is none.
    """

    headers: dict[str, str]
    problem: str


def split_reference(reference: str) -> tuple[str, str]:
    """Return the repository of an image reference, and its tag or digest.

    Raises:
        EngineError: The reference is invalid.
    """
    try:
        repository, tag = utils.parse_repository_tag(reference)
        auth.resolve_repository_name(repository)
    except DockerException as error:
        raise EngineError(f"pulling {reference}: {error}") from error
    return repository, tag or "latest"


def pull_login(repository: str) -> Login:
    """Return the login for the registry of a repository."""
    registry, _ = auth.resolve_repository_name(repository)
    return _login("X-Registry-Auth", lambda config: config.resolve_authconfig(registry))


def build_login() -> Login:
    """Return all logins: a Dockerfile may start from an image of any registry."""
    return _login("X-Registry-Config", _all_logins)


def _all_logins(config: Any) -> Any:
    logins = config.get_all_credentials()
    if auth.INDEX_NAME in logins:
        logins.setdefault(auth.INDEX_URL, logins[auth.INDEX_NAME])  # the name that the builder knows Docker Hub by
    return logins


def _login(header: str, read: Callable[[Any], Any]) -> Login:
    """Return the login that docker's config and its credential helpers have.

    If they fail, the request is anonymous, as docker's own would be: a public image needs no login.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            login = read(auth.load_config())
            return Login({header: auth.encode_header(login).decode()} if login else {}, "")
        except Exception as error:  # noqa: BLE001 (a broken config may raise anything in the package)
            return Login({}, f"docker's own config has no readable login: {' '.join(str(error).split())}")
