"""The hosts that a running habitat may reach: `entry.network` as a mapping, and `entry.hosts`."""

from __future__ import annotations

import re
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from phases.core.entry_settings import DEFAULT_PORTS, HostRule
from phases.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from phases.core.config.scope import Scope
    from phases.core.model import Habitat
    from phases.core.origin import Origin
    from phases.core.problems import Problems

_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"

# The last label begins with a letter. A name whose last label is a number is an address, in whatever notation.
_HOST = re.compile(rf"(?:\*\.)?(?:{_LABEL}\.)+[a-z](?:[a-z0-9-]{{0,61}}[a-z0-9])?")

_PORT = re.compile(r"(?P<host>.*):(?P<port>[0-9]{1,5})", re.DOTALL)

# Names that lead to the machine itself (RFC 6761), and the one of the gate.
_RESERVED = ("localhost", "habitat")

_LONGEST = 253

_MAX_PORT = 65_535

_RULE = "a host such as example.org, *.example.org or example.org:8443"


def rules(scope: Scope, texts: Iterable[str], *key: str) -> tuple[HostRule, ...]:
    """Return the rules of a list, each once. Collects errors."""
    each = scope.each(key, texts, lambda i, text: _rule(scope, text, *key, i))
    first: dict[str, HostRule] = {}
    for rule in each:
        first.setdefault(rule.text, rule)
    return tuple(first.values())


def _rule(scope: Scope, text: str, *key: str | int) -> HostRule:
    return parse(scope.expand(text, *key), scope.at(*key))


def parse(text: str, where: Origin | None = None) -> HostRule:
    """Return the rule that a text stands for. Raises ConfigError."""
    fail = partial(ConfigError, f"{text!r} is not a host", where=where)
    name: str = text.lower()
    ports: tuple[int, ...] = DEFAULT_PORTS
    if match := _PORT.fullmatch(name):
        name, ports = match["host"], (int(match["port"]),)
        if not 0 < ports[0] <= _MAX_PORT:
            raise fail(remedy=f"write a port from 1 to {_MAX_PORT}")
    if not _HOST.fullmatch(name) or len(name) > _LONGEST:
        raise fail(remedy=_remedy(text))
    rule = HostRule(name, ports, where)
    labels = rule.domain.split(".")
    if labels[-1] in _RESERVED:
        raise fail(remedy=f"names below .{labels[-1]} never lead to another machine: leave it out")
    return rule


def _remedy(text: str) -> str:
    """Return what to write in place of a text that is no host."""
    if "://" in text or "/" in text:
        host = urlsplit(text if "://" in text else f"//{text}").hostname if text.isprintable() else ""
        if host and _HOST.fullmatch(host):
            return f"write the host alone: {host}"
    if re.fullmatch(r"[0-9a-fx.:\[\]]+", text, re.IGNORECASE):
        return f"write {_RULE}: addresses are never allowed"
    if not text.isascii():
        with suppress(UnicodeError):
            name = text.encode("idna").decode().lower()
            if _HOST.fullmatch(name):
                return f"write it as DNS has it: {name}"
    return f"write {_RULE}"


def check(habitat: Habitat, problems: Problems) -> None:
    """Refuse what an allowlist can't be beside. Collects errors."""
    for volume in habitat.volumes:
        if volume.gives_root:
            problem = f"{volume.shown} gives root on this machine, which can lift the allowlist of entry.network"
            problems.add(ConfigError(problem, where=volume.origin, remedy="leave one of them out"))
    for port in habitat.entry.ports:
        if port.protocol != "tcp":
            problem = f"port {port.inside}/{port.protocol} can't be published beside the allowlist of entry.network"
            problems.add(ConfigError(problem, where=port.origin, remedy="publish TCP ports, or leave one of them out"))
