"""The key `secrets`, and the keys of `repos` that name a credential: `token` and `known_hosts`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from phases.core.config.names import SECRET_NAME, SECRET_PHASES, VARIABLE
from phases.core.errors import ConfigError, did_you_mean
from phases.core.model import Secret
from phases.core.problems import Consequence

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from phases.core.config import schema
    from phases.core.config.scope import Scope
    from phases.core.model import Habitat


def of_all_layers(scope: Scope, entries: Iterable[schema.SecretKeys], hook_phases: Iterable[str]) -> tuple[Secret, ...]:
    """Return every entry, also one that a later layer replaces. `hook_phases` have hooks. Collects errors."""
    phases = dict.fromkeys((*SECRET_PHASES, *hook_phases))
    return scope.each(("secrets",), entries, lambda i, entry: _secret(scope, i, entry, phases))


def latest(secrets: Iterable[Secret]) -> tuple[Secret, ...]:
    """Return the secrets without those that a later one with the same name replaces."""
    return tuple({secret.name: secret for secret in secrets}.values())


def _secret(scope: Scope, i: int, entry: schema.SecretKeys, phases: Collection[str]) -> Secret:
    _check(scope, i, entry, phases)
    return Secret(
        name=entry.name,
        env=entry.env,
        file=scope.host_path(entry.file, "secrets", i, "file", must_exist=False).path if entry.file else None,
        command=entry.command,
        phases=tuple(entry.phases),
        start=entry.start,
        variable=entry.variable,
        optional=entry.optional,
        origin=scope.at("secrets", i),
        habitat=scope.own.folder.name,
    )


def check_personal(habitat: Habitat) -> None:
    """Refuse a file of a personal secret that the habitat copies, since the images of one person would lack it.

    Raises ConfigError.
    """
    copied = [*(layer.folder for layer in habitat.layers), *(copy.source for copy in habitat.files)]
    for secret in habitat.secrets:
        if secret.file and secret.origin.role == "personal":
            path = secret.file.resolve()
            if source := next((one for one in copied if path.is_relative_to(one.resolve())), None):
                problem = f"secret {secret.name}: {secret.file} is in {source}, whose files images get"
                raise ConfigError(problem, where=secret.origin, remedy="move it out of there")


def check_replaced(secrets: Iterable[Secret]) -> None:
    """Refuse a personal secret with the name of one that builds use. Raises ConfigError."""
    others: dict[str, Secret] = {}
    for secret in secrets:
        if secret.origin.role != "personal":
            others[secret.name] = secret
        elif (other := others.get(secret.name)) and other.phases:
            problem = f"secret {secret.name!r} would replace one that builds use ({other.origin})"
            raise ConfigError(problem, where=secret.origin, remedy="give yours another name")


def _check(scope: Scope, i: int, entry: schema.SecretKeys, phases: Collection[str]) -> None:
    def error(problem: str, remedy: str, *key: str) -> ConfigError:
        return ConfigError(f"secret {entry.name!r}{problem}", where=scope.at("secrets", i, *key), remedy=remedy)

    if not SECRET_NAME.fullmatch(entry.name):
        remedy = "use up to 100 letters, digits, _ . and -, beginning with a letter, a digit or _"
        raise error(" can't be the name of a file", remedy, "name")
    if sum(map(bool, (entry.env, entry.file, entry.command))) != 1:
        raise error(" needs exactly one source", "write one of env, file and command")
    if not entry.phases and not entry.start:
        raise error(" is used by nothing", "add phases, or start: true")
    for phase in entry.phases:
        if phase not in phases:
            if "hooks" in scope.problems.sections:
                raise Consequence
            remedy = f"write {', '.join(SECRET_PHASES[:-1])} or {SECRET_PHASES[-1]}, or a phase that has hooks"
            raise error(f": phase {phase!r} can't have secrets", remedy, "phases")
    for key in ("env", "variable"):
        name = getattr(entry, key)
        if name and not VARIABLE.fullmatch(name):
            problem = f": {key} is {name!r}, which is not the name of a variable"
            raise error(problem, "write letters, digits and _ only, not beginning with a digit", key)


def token(scope: Scope, i: int, entry: schema.RepoKeys, url: str, secrets: Iterable[Secret]) -> str:
    """Return the name of the secret with which a repository is cloned, "" for none.

    Args:
        scope: The config.
        i: The index of the repository.
        entry: The repository.
        url: Its URL, to whose host alone the secret is sent.
        secrets: All secrets.

    Raises:
        ConfigError: There is no such secret for the phase, or the URL is not HTTPS.

    """
    if not entry.token:
        return ""
    where = scope.at("repos", i, "token")
    usable = [secret.name for secret in secrets if "repos" in secret.phases]
    if entry.token not in usable:
        if "secrets" in scope.problems.sections:
            raise Consequence
        remedy = did_you_mean(entry.token, usable) if usable else "add one to secrets:, with phases: [repos]"
        raise ConfigError(f"there is no secret '{entry.token}' for repos", where=where, remedy=remedy)
    if not url.startswith("https://"):
        raise ConfigError("a token is sent only by HTTPS", where=where, remedy="use the repository's https:// URL")
    return entry.token


def known_hosts(scope: Scope, i: int, entry: schema.RepoKeys) -> Path | None:
    """Return the file with the host keys to trust, None without the SSH agent. Raises ConfigError."""
    if not entry.ssh_agent:
        if entry.known_hosts:
            where = scope.at("repos", i, "known_hosts")
            raise ConfigError("known_hosts is for SSH", where=where, remedy="add ssh_agent: true")
        return None
    if entry.known_hosts:
        return scope.host_path(entry.known_hosts, "repos", i, "known_hosts").path
    try:
        return Path("~/.ssh/known_hosts").expanduser()
    except RuntimeError as error:
        problem, remedy = "you have no home folder with .ssh/known_hosts", "set HOME, or write known_hosts: PATH"
        raise ConfigError(problem, where=scope.at("repos", i, "ssh_agent"), remedy=remedy) from error
