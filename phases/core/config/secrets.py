"""What only some may have: secrets, and the keys to repositories that want to know who comes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from phases.core.config.names import SECRET_NAME, SECRET_PHASES, VARIABLE
from phases.core.errors import ConfigError, did_you_mean
from phases.core.model import Secret

if TYPE_CHECKING:
    from collections.abc import Iterable

    from phases.core.config import schema
    from phases.core.config.scope import Scope


def named_secrets(scope: Scope, entries: Iterable[schema.SecretKeys]) -> tuple[Secret, ...]:
    """Those of all layers."""
    return tuple(_secret(scope, i, entry) for i, entry in enumerate(entries))


def secrets(named: Iterable[Secret]) -> tuple[Secret, ...]:
    """A later layer's secret of the same name takes the place of an earlier one's."""
    return tuple({secret.name: secret for secret in named}.values())


def _secret(scope: Scope, i: int, entry: schema.SecretKeys) -> Secret:
    def wrong(what: str, remedy: str, *key: str) -> ConfigError:
        return ConfigError(f"secret {entry.name!r} {what}", where=scope.at("secrets", i, *key), remedy=remedy)

    if not SECRET_NAME.fullmatch(entry.name):
        raise wrong("is no name for a file", "use letters, digits, _ . and -", "name")
    if sum(map(bool, (entry.env, entry.file, entry.command))) != 1:
        raise wrong("must come from one place", "write one of env, file and command")
    if not entry.phases and not entry.start:
        raise wrong("is for nobody", "name phases, or say start: true")
    for phase in entry.phases:
        if phase not in SECRET_PHASES:
            raise wrong(f"is for {phase!r}, which runs no commands", did_you_mean(phase, SECRET_PHASES), "phases")
    for key in ("env", "variable"):
        word = getattr(entry, key)
        if word and not VARIABLE.fullmatch(word):
            raise wrong(f"has {word!r}, which is no variable", "write its name, without a $", key)
    file = scope.outside(entry.file, "secrets", i, "file", must_exist=False)[0] if entry.file else None
    return Secret(
        name=entry.name,
        env=entry.env,
        file=file,
        command=entry.command,
        phases=tuple(entry.phases),
        start=entry.start,
        variable=entry.variable,
        optional=entry.optional,
        origin=scope.at("secrets", i),
        habitat=scope.layers[-1].folder.name,
    )


def token(scope: Scope, i: int, entry: schema.RepoKeys, url: str, secrets: Iterable[Secret]) -> str:
    """The secret that a repository is fetched with. It goes nowhere but to the URL's own host."""
    if not entry.token:
        return ""
    where = scope.at("repos", i, "token")
    able = [secret.name for secret in secrets if "repos" in secret.phases]
    if entry.token not in able:
        remedy = did_you_mean(entry.token, able) if able else "add one to secrets:, with phases: [repos]"
        raise ConfigError(f"there is no secret '{entry.token}' for repos", where=where, remedy=remedy)
    if not url.startswith("https://"):
        raise ConfigError("a token is sent by HTTPS only", where=where, remedy="use the repository's https:// URL")
    return entry.token


def known_hosts(scope: Scope, i: int, entry: schema.RepoKeys) -> Path | None:
    """Where the host keys are that are trusted; None where no agent is lent."""
    if not entry.ssh_agent:
        if entry.known_hosts:
            where = scope.at("repos", i, "known_hosts")
            raise ConfigError("known_hosts is for SSH", where=where, remedy="say ssh_agent: true as well")
        return None
    if entry.known_hosts:
        return scope.outside(entry.known_hosts, "repos", i, "known_hosts")[0]
    return Path("~/.ssh/known_hosts").expanduser()
