"""The keys `entry` and `build`: how a habitat runs, and what limits it and its build."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from phases.core.config import schema, units
from phases.core.config.mounts import persist
from phases.core.config.schema.entry import NETWORKS
from phases.core.config.units import DAY
from phases.core.entry_settings import ALLOWLIST, Limits, Ready
from phases.core.errors import ConfigError
from phases.core.model import WORKSPACES, Build, EntryPoint

if TYPE_CHECKING:
    from collections.abc import Sequence

    from phases.core.config.scope import Scope
    from phases.core.entry_settings import EntryVariable, HostRule
    from phases.core.port import Port

# Bytes of one Dockerfile instruction that the engine accepts in a commit; entry.command is a part of one.
_MAX_INSTRUCTION = 65_000

# The least memory that engines accept, and more processors than any machine has.
_MIN_MEMORY = 6 << 20
_MAX_CPUS = 4096


def entry_point(scope: Scope, entry: schema.EntryKeys) -> EntryPoint:
    """Return how the habitat runs. Collects errors; raises Consequence then."""
    init, delay, ready, command, network, published, hosts, limits, kept, files, shm, env, login = scope.problems.all(
        lambda: _init(scope, entry.init_command),
        lambda: _delay(scope, entry.startup_delay),
        lambda: _ready(scope, entry.ready),
        lambda: _command(scope, entry.command),
        lambda: _network(scope, entry.network),
        lambda: _ports(scope, entry),
        lambda: _hosts(scope, entry),
        lambda: _limits(scope, entry.limits, "entry", "limits"),
        lambda: persist.paths(scope, entry.persist),
        lambda: _instruction_files(scope, entry.instruction_files),
        lambda: _size(scope, entry.shm_size, "entry", "shm_size"),
        lambda: _variables(scope, entry.env),
        lambda: _login(scope, entry.login),
    )
    return EntryPoint(
        init_command=init,
        startup_delay=delay,
        ready=ready,
        command=command,
        network=network,
        allow=hosts if network == ALLOWLIST else (),
        learns=isinstance(entry.network, schema.NetworkKeys) and entry.network.learn,
        ports=published,
        limits=limits,
        persist=kept,
        instruction_files=files,
        shm_size=shm,
        ssh_agent=entry.ssh_agent,
        login=login,
        env=env,
    )


def _instruction_files(scope: Scope, texts: Sequence[str]) -> tuple[str, ...]:
    if not texts:
        return ()
    from phases.core.config.layers import instructions  # imported late: many habitats have none

    return instructions.files(scope, texts)


def _init(scope: Scope, text: str) -> str:
    init = scope.argument(scope.expand(text, "entry", "init_command"), "entry", "init_command")
    if init and not init.strip():
        where = scope.at("entry", "init_command")
        raise ConfigError("init_command is blank", where=where, remedy="write a command, or leave the key out")
    return init


def _login(scope: Scope, text: str) -> str:
    login = scope.argument(scope.expand(text, "entry", "login"), "entry", "login")
    if login and not login.strip():
        where = scope.at("entry", "login")
        raise ConfigError("entry.login is blank", where=where, remedy="write a command, or leave the key out")
    return login


def _command(scope: Scope, text: str) -> str:
    command = scope.expand(text, "entry", "command")
    if len(json.dumps(command)) > _MAX_INSTRUCTION:
        where = scope.at("entry", "command")
        raise ConfigError(
            f"entry.command is longer than an image can hold ({len(command.encode()):,} bytes)",
            where=where,
            remedy="put it into a file of the habitat's folder, and run that file",
        )
    return command


def _variables(scope: Scope, texts: Sequence[str]) -> tuple[EntryVariable, ...]:
    if not texts:
        return ()
    from phases.core.config.entry import env as entry_env  # imported late: many habitats have none

    return entry_env.variables(scope, texts)


def _delay(scope: Scope, seconds: float) -> float:
    if not 0 <= seconds <= DAY:
        rule = f"a number of seconds from 0 to {DAY}"
        raise scope.wrong_value(f"{seconds:g}", rule, "write one such as 2 or 0.5", "entry", "startup_delay")
    return seconds


def _ready(scope: Scope, entry: str | schema.ReadyKeys) -> Ready | None:
    """Return the readiness check, None for none. An empty command cancels one of an earlier layer."""
    path: tuple[str, ...] = ("entry", "ready")
    ready = entry if isinstance(entry, schema.ReadyKeys) else schema.ReadyKeys(command=entry)
    if ready is entry:
        path = (*path, "command")
    command = scope.argument(scope.expand(ready.command, *path), *path)
    if not command:
        return None
    if not command.strip():
        raise ConfigError("ready is blank", where=scope.at(*path), remedy="write a command, or leave the key out")
    interval, timeout = scope.problems.all(
        lambda: _seconds(scope, ready, "interval"), lambda: _seconds(scope, ready, "timeout")
    )
    return Ready(command, interval or 1, timeout or 60, scope.at(*path))


def _seconds(scope: Scope, ready: schema.ReadyKeys, key: str) -> float:
    """Return the seconds of `interval` or `timeout`, 0 if the config has none."""
    text = getattr(ready, key)
    try:
        return units.duration(text) if text else 0
    except ValueError:
        remedy = f"{units.DURATION_REMEDY} 2s, 90s or 5m"
        raise scope.wrong_value(repr(text), units.DURATION_RULE, remedy, "entry", "ready", key) from None


def workspace(scope: Scope, word: str) -> str:
    """Return the value of `workspace`. Collects errors."""
    if word and word not in WORKSPACES:
        rule, remedy = " or ".join(WORKSPACES), "write image for a habitat without a volume for WORKDIR"
        scope.problems.add(scope.wrong_value(repr(word), rule, remedy, "workspace"))
    return word or WORKSPACES[0]


def _ports(scope: Scope, entry: schema.EntryKeys) -> tuple[Port, ...]:
    if not entry.ports:
        return ()
    from phases.core.config.entry.ports import ports  # imported late: most habitats publish none

    return ports(scope, entry.ports, entry.network)


def _hosts(scope: Scope, entry: schema.EntryKeys) -> tuple[HostRule, ...]:
    """Return the hosts that a habitat with an allowlist may reach. Collects errors, also where it has none."""
    named = entry.network.allow if isinstance(entry.network, schema.NetworkKeys) else ()
    if not named and not entry.hosts:
        return ()
    from phases.core.config.entry import hosts  # imported late: many habitats name none

    of_network = hosts.rules(scope, named, "entry", "network", "allow")
    return (*of_network, *hosts.rules(scope, entry.hosts, "entry", "hosts"))


def _network(scope: Scope, network: str | schema.NetworkKeys) -> str:
    if isinstance(network, schema.NetworkKeys):
        return ALLOWLIST
    if network and network not in NETWORKS:
        rule = f"{', '.join(NETWORKS)} or a mapping such as {{allow: [example.org]}}"
        remedy = "write none for a habitat without network"
        raise scope.wrong_value(repr(network), rule, remedy, "entry", "network")
    return network or NETWORKS[0]


def build(scope: Scope, config: schema.BuildKeys) -> Build:
    """Return what limits a build. Raises ConfigError."""
    return Build(_limits(scope, config.limits, "build", "limits"), config.new_privileges)


def _limits(scope: Scope, limits: schema.LimitsKeys, *where: str) -> Limits:
    memory, _ = scope.problems.all(
        lambda: _memory(scope, limits.memory, *where, "memory"), lambda: _check_counts(scope, limits, *where)
    )
    return Limits(memory, limits.cpus, limits.pids)


def _memory(scope: Scope, text: str, *where: str) -> int:
    memory = _size(scope, text, *where)
    if 0 < memory < _MIN_MEMORY:
        problem = "memory is less than the 6m that an engine accepts"
        raise ConfigError(problem, where=scope.at(*where), remedy="write 6m or more")
    return memory


def _check_counts(scope: Scope, limits: schema.LimitsKeys, *where: str) -> None:
    if not 0 <= limits.cpus <= _MAX_CPUS:
        rule = f"a number from 0 to {_MAX_CPUS}"
        remedy = "write one such as 1.5, or 0 for no limit"
        scope.problems.add(scope.wrong_value(f"{limits.cpus:g}", rule, remedy, *where, "cpus"))
    if limits.pids < 0:
        remedy = "write one such as 4096, or 0 for no limit"
        raise scope.wrong_value(limits.pids, "a whole number above 0", remedy, *where, "pids")


def _size(scope: Scope, text: str, *where: str) -> int:
    try:
        return units.size(text)
    except ValueError:
        remedy = "write it like 512m or 4g"
        raise ConfigError(f"{text!r} is not a size", where=scope.at(*where), remedy=remedy) from None
