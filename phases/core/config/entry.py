"""The sections `entry` and `build`: how a habitat runs and is built, and what confines it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from phases.core.config import persist, schema, units
from phases.core.config.ports import ports
from phases.core.config.units import DAY
from phases.core.errors import ConfigError
from phases.core.model import NETWORKS, Build, EntryPoint, Limits, Ready

if TYPE_CHECKING:
    from phases.core.config.scope import Scope

# Bytes of a line of the changes that the engine commits with, where entry.command is a word of one.
_CHANGE = 65_000

# What an engine takes at least, and what no machine has.
_LEAST_MEMORY = 6 << 20
_MOST_CPUS = 4096


def entry_point(scope: Scope, entry: schema.Entry) -> EntryPoint:
    return EntryPoint(
        init_command=_init(scope, entry.init_command),
        startup_delay=_delay(scope, entry.startup_delay),
        ready=_ready(scope, entry.ready),
        command=_command(scope, entry.command),
        network=_network(scope, entry.network),
        ports=ports(scope, entry.ports, entry.network),
        limits=_limits(scope, entry.limits, "entry", "limits"),
        persist=tuple(persist.paths(scope, entry.persist)),
    )


def _init(scope: Scope, text: str) -> str:
    init = scope.argument(scope.text(text, "entry", "init_command"), "entry", "init_command")
    if init and not init.strip():
        where = scope.at("entry", "init_command")
        raise ConfigError("init_command is blank", where=where, remedy="write a command, or leave the key out")
    return init


def _command(scope: Scope, text: str) -> str:
    command = scope.text(text, "entry", "command")
    if len(json.dumps(command)) > _CHANGE:
        where = scope.at("entry", "command")
        raise ConfigError(
            f"entry.command is longer than an image can hold ({len(command.encode()):,} bytes)",
            where=where,
            remedy="put it into a file of the habitat's folder, and run that",
        )
    return command


def _delay(scope: Scope, seconds: float) -> float:
    if not 0 <= seconds <= DAY:
        where = scope.at("entry", "startup_delay")
        raise ConfigError(f"startup_delay is {seconds:g}", where=where, remedy=f"write seconds, 0 to {DAY}")
    return seconds


def _ready(scope: Scope, entry: str | schema.Ready) -> Ready | None:
    """None where nothing is asked: an empty command takes back one of a layer below."""
    path: tuple[str, ...] = ("entry", "ready")
    long = entry if isinstance(entry, schema.Ready) else schema.Ready(command=entry)
    if long is entry:
        path = (*path, "command")
    command = scope.argument(scope.text(long.command, *path), *path)
    if not command:
        return None
    if not command.strip():
        raise ConfigError("ready is blank", where=scope.at(*path), remedy="write a command, or leave the key out")
    interval, timeout = (_measure(scope, long, key) for key in ("interval", "timeout"))
    return Ready(command, interval or 1, timeout or 60, scope.at(*path))


def _measure(scope: Scope, ready: schema.Ready, key: str) -> float:
    """Seconds, 0 where nothing is said."""
    text = getattr(ready, key)
    try:
        return units.duration(text) if text else 0
    except ValueError:
        where, remedy = scope.at("entry", "ready", key), "write it like 2s, 90s or 5m"
        raise ConfigError(f"ready.{key}: {text!r} is no duration", where=where, remedy=remedy) from None


def _network(scope: Scope, network: str) -> str:
    if network and network not in NETWORKS:
        where = scope.at("entry", "network")
        raise ConfigError(f"network is {network!r}", where=where, remedy=f"write {' or '.join(NETWORKS)}")
    return network or NETWORKS[0]


def build(scope: Scope, config: schema.Build) -> Build:
    return Build(_limits(scope, config.limits, "build", "limits"), config.new_privileges)


def _limits(scope: Scope, limits: schema.Limits, *where: str) -> Limits:
    try:
        memory = units.size(limits.memory)
    except ValueError:
        remedy = "write it like 512m or 4g"
        raise ConfigError(f"{limits.memory!r} is no size", where=scope.at(*where, "memory"), remedy=remedy) from None
    if 0 < memory < _LEAST_MEMORY:
        raise ConfigError("memory is too little to run in", where=scope.at(*where, "memory"), remedy="give it 6m")
    if not 0 <= limits.cpus <= _MOST_CPUS:
        raise ConfigError(f"cpus is {limits.cpus:g}", where=scope.at(*where, "cpus"), remedy="write it like 1.5")
    if limits.pids < 0:
        raise ConfigError(f"pids is {limits.pids}", where=scope.at(*where, "pids"), remedy="write it like 4096")
    return Limits(memory, limits.cpus, limits.pids)
