"""The list `entry.ports`: what of a running habitat is published on the host, and where."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from phases.core.errors import ConfigError
from phases.core.port import LOOPBACK, Port

if TYPE_CHECKING:
    from collections.abc import Iterable

    from phases.core.config.scope import Scope
    from phases.core.origin import Origin

_NUMBER = r"0|[1-9][0-9]*"
_PORT = re.compile(
    rf"(?:(?:([0-9.]+|\[[0-9A-Fa-f:.]+\]):)?({_NUMBER}):)?({_NUMBER})(?:/(tcp|udp))?",
    re.ASCII,
)

_LAST = 65_535


def ports(scope: Scope, texts: Iterable[str], network: str) -> tuple[Port, ...]:
    """In order. network: of the habitat, which needs one to be reached."""
    found: list[Port] = []
    for i, text in enumerate(texts):
        where = scope.at("entry", "ports", i)
        port = _port(scope.text(text, "entry", "ports", i), where)
        _check_alone(port, found, where)
        found.append(port)
    if found and network == "none":
        remedy = "take the ports out, or write `network: bridge`"
        raise ConfigError("a port can't be published without a network", where=found[0].origin, remedy=remedy)
    return tuple(found)


def _port(text: str, where: Origin) -> Port:
    match = _PORT.fullmatch(text)
    if not match:
        remedy = "write it like 3000, 8080:3000, 0.0.0.0:8080:3000 or 53:53/udp"
        raise ConfigError(f"ports: {text!r} is no port", where=where, remedy=remedy)
    ip, host, inside, protocol = match.groups()
    return Port(
        _number(inside, where),
        protocol or "tcp",
        _address(ip, where) if ip else LOOPBACK,
        0 if host == "0" else _number(host or inside, where),
        where,
    )


def _number(text: str, where: Origin) -> int:
    if len(text) > len(str(_LAST)) or not 0 < int(text) <= _LAST:
        remedy = f"write 1 to {_LAST}; on the host also 0, for one that is free"
        raise ConfigError(f"ports: there is no port {text}", where=where, remedy=remedy)
    return int(text)


def _address(text: str, where: Origin) -> str:
    import ipaddress

    bare = text.strip("[]")
    try:
        found = ipaddress.ip_address(bare)
    except ValueError:
        found = None
    if not found or (found.version == 6) != (bare != text):
        remedy = "write one of the host's, an IPv6 one in brackets, or leave it out for 127.0.0.1"
        raise ConfigError(f"ports: {text!r} is no address", where=where, remedy=remedy)
    return str(found)


def _check_alone(port: Port, others: Iterable[Port], where: Origin) -> None:
    for other in others:
        if port == other or port.meets(other):
            problem = f"ports: {port.address} is published already ({other.origin})"
            raise ConfigError(problem, where=where, remedy="keep one of them, or give it another port on the host")
