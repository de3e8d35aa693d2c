"""The section `entry`: how a habitat runs, and what holds it in."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from phases.core.config import measures, persist
from phases.core.config.measures import DAY
from phases.core.errors import ConfigError
from phases.core.model import NETWORKS, EntryPoint, Limits

if TYPE_CHECKING:
    from phases.core.config import schema
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
        command=_command(scope, entry.command),
        network=_network(scope, entry.network),
        limits=_limits(scope, entry.limits),
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


def _network(scope: Scope, network: str) -> str:
    if network and network not in NETWORKS:
        where = scope.at("entry", "network")
        raise ConfigError(f"network is {network!r}", where=where, remedy=f"write {' or '.join(NETWORKS)}")
    return network or NETWORKS[0]


def _limits(scope: Scope, limits: schema.Limits) -> Limits:
    where = ("entry", "limits")
    try:
        memory = measures.size(limits.memory)
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
