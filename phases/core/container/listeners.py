"""Finds servers that listen on the loopback address of a container, where no published port leads."""

from __future__ import annotations

import ipaddress
from contextlib import suppress
from typing import TYPE_CHECKING

from phases.core.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from phases.core.engine.protocol import Engine

# The kernel's tables of sockets, see proc_net_tcp.rst of its documentation. IPv6 may be switched off.
_TABLES = ("tcp", "tcp6", "udp", "udp6")

# The states of a TCP socket that listens, and of a UDP socket that is connected to nobody.
_LISTENS = {"0A", "07"}


def only_on_loopback(engine: Engine, container: str) -> set[tuple[str, int]]:
    """Return the protocol and the number of each port on which servers listen on a loopback address alone."""
    tables: list[bytes] = []

    def keep(data: bytes, is_err: bool) -> None:
        if not is_err:  # cat writes there between two pieces of a table
            tables.append(data)

    argv = ("cat", *(f"/proc/net/{table}" for table in _TABLES))
    try:
        # Whatever the exit code is: a table that is missing has no sockets.
        engine.exec(container, argv, user="0", workdir="/", on_output=keep)
    except EngineError:  # the container has ended, or its image has no cat
        return set()
    return _only_on_loopback(b"".join(tables).decode(errors="replace").splitlines())


def _only_on_loopback(lines: Iterable[str]) -> set[tuple[str, int]]:
    on_loopback: set[tuple[str, int]] = set()
    on_others: set[tuple[str, int]] = set()
    for protocol, address, port in _listeners(lines):
        (on_loopback if address.is_loopback else on_others).add((protocol, port))
    return on_loopback - on_others


def _listeners(lines: Iterable[str]) -> Iterator[tuple[str, ipaddress.IPv4Address | ipaddress.IPv6Address, int]]:
    """Yield the protocol, address and port of each socket in the tables that takes what anybody sends."""
    protocol = "tcp"
    for line in lines:
        words = line.split()
        if words[:1] == ["sl"]:
            # Only the heading of a table of UDP sockets ends with the number of dropped packets.
            protocol = "udp" if words[-1] == "drops" else "tcp"
        elif len(words) > 3 and words[3] in _LISTENS:
            address, _, port = words[1].partition(":")
            with suppress(ValueError):  # a line that another program than the kernel has written
                yield protocol, _address(address), int(port, 16)


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Return an address of which the kernel printed each group of 32 bits as a number of a little-endian machine."""
    groups = (bytes.fromhex(text[start : start + 8])[::-1] for start in range(0, len(text), 8))
    address = ipaddress.ip_address(b"".join(groups))
    return getattr(address, "ipv4_mapped", None) or address
