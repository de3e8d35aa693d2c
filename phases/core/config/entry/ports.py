"""The key `entry.ports`: the ports of a running habitat that are published on the host."""

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

_MAX_PORT = 65_535


def ports(scope: Scope, texts: Iterable[str], network: object) -> tuple[Port, ...]:
    """Return the ports in order. Collects errors; raises ConfigError if `network`, the habitat's key, is none."""
    earlier: list[Port] = []
    key = ("entry", "ports")
    published = scope.each(key, texts, lambda i, text: _published(scope, text, earlier, *key, i))
    if published and network == "none":
        remedy = "remove the ports, or write `network: bridge`"
        raise ConfigError("a port can't be published without a network", where=published[0].origin, remedy=remedy)
    return published


def _published(scope: Scope, text: str, earlier: list[Port], *key: str | int) -> Port:
    where = scope.at(*key)
    port = _port(scope.expand(text, *key), where)
    _check_free(port, earlier, where)
    earlier.append(port)
    return port


def _port(text: str, where: Origin) -> Port:
    match = _PORT.fullmatch(text)
    if not match:
        remedy = "write it like 3000, 8080:3000, 0.0.0.0:8080:3000 or 53:53/udp"
        raise ConfigError(f"ports: {text!r} is not a port", where=where, remedy=remedy)
    ip, host, inside, protocol = match.groups()
    return Port(
        _number(inside, where),
        protocol or "tcp",
        _address(ip, where) if ip else LOOPBACK,
        0 if host == "0" else _number(host or inside, where),
        where,
    )


def _number(text: str, where: Origin) -> int:
    if len(text) > len(str(_MAX_PORT)) or not 0 < int(text) <= _MAX_PORT:
        remedy = f"write 1 to {_MAX_PORT} (as the host's port also 0: the engine then picks a free one)"
        raise ConfigError(f"ports: there is no port {text}", where=where, remedy=remedy)
    return int(text)


def _address(text: str, where: Origin) -> str:
    import ipaddress

    bare = text.strip("[]")
    try:
        address = ipaddress.ip_address(bare)
    except ValueError:
        address = None
    if not address or (address.version == 6) != (bare != text):
        remedy = "write an address of the host, an IPv6 one in brackets, or leave it out for 127.0.0.1"
        raise ConfigError(f"ports: {text!r} is not an address", where=where, remedy=remedy)
    return str(address)


def _check_free(port: Port, others: Iterable[Port], where: Origin) -> None:
    for other in others:
        if port == other or port.meets(other):
            problem = f"ports: {port.address} is already published ({other.origin})"
            raise ConfigError(problem, where=where, remedy="keep one of them, or give it another port on the host")
