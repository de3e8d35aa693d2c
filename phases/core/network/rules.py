"""The rules of a habitat in the words of squid's configuration."""

from __future__ import annotations

import ipaddress
import os
import re
from typing import TYPE_CHECKING

from phases.core.entry_settings import DEFAULT_PORTS
from phases.core.errors import StartError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from phases.core.entry_settings import HostRule

#: Addresses of DNS servers for the proxies, separated by spaces, for machines whose own are not meant for them.
DNS_VARIABLE = "HABITATS_GATE_DNS"


def squid_rules(rules: Iterable[HostRule], denied: Iterable[HostRule] = (), *, learns: bool) -> str:
    """Return the file that squid.conf includes.

    A name is resolved only once its rule matches: else the name itself could carry data out.

    Args:
        rules: What is allowed.
        denied: What is refused whatever else is allowed: the ports of a rule, every port where it names none.
        learns: Whether each host is allowed that isn't inward.
    """
    lines = (*_dns(), *_denials(denied), *_lines(rules), *(_ANY if learns else ()))
    return "".join(f"{line}\n" for line in lines)


_ANY = ("http_access deny inward", "http_access allow all")


def _denials(rules: Iterable[HostRule]) -> Iterator[str]:
    for i, rule in enumerate(rules):
        yield _host(f"no_host{i}", rule)
        if rule.ports == DEFAULT_PORTS:
            yield f"http_access deny no_host{i}"
        else:
            yield f"acl no_port{i} port {rule.ports[0]}"
            yield f"http_access deny no_host{i} no_port{i}"


def _host(acl: str, rule: HostRule) -> str:
    if rule.is_wildcard:
        return f"acl {acl} dstdom_regex -n -i [^.]\\.{re.escape(rule.domain)}$"
    return f"acl {acl} dstdomain -n {rule.domain}"


def _lines(rules: Iterable[HostRule]) -> Iterator[str]:
    for i, rule in enumerate(rules):
        yield _host(f"host{i}", rule)
        yield f"acl port{i} port {' '.join(map(str, rule.ports))}"
        yield f"http_access deny host{i} port{i} inward"
        yield f"http_access allow host{i} port{i}"


def _dns() -> Iterator[str]:
    text = os.environ.get(DNS_VARIABLE, "")
    try:
        addresses = [str(ipaddress.ip_address(word)) for word in text.split()]
    except ValueError as error:
        remedy = f"write addresses of DNS servers into {DNS_VARIABLE}, separated by spaces"
        raise StartError(f"{error} ({DNS_VARIABLE})", remedy=remedy) from None
    if addresses:
        yield f"dns_nameservers {' '.join(addresses)}"
