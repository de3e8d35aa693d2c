"""The sections `files`, `setup`, `hooks`, `repos`, `verify-fs` and `tests`, resolved for their phases.

Every function collects the errors of entries in the problems of the scope.
"""

from __future__ import annotations

import os
import posixpath
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import UNSET

from phases.core.config import git_refs, schema
from phases.core.config import secrets as config_secrets
from phases.core.config.names import USER
from phases.core.errors import ConfigError, did_you_mean
from phases.core.hooks import Command, HookCommand, Point
from phases.core.json_types import dotted
from phases.core.model import FileCopy, RepoClone, TestScript

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from phases.core.config.scope import Scope
    from phases.core.hooks import When
    from phases.core.model import Secret
    from phases.core.origin import Origin

# When a hook without `before` and `after` runs.
_AFTER_SETUP = Point("after", "setup")

# The phases that begin with an image, so that there is none before them.
_DOCKERFILE, _BASE = "dockerfile", "base"


class Points:
    """The points of one habitat's build.

    Args:
        scope: The config.
        phases: The names of all phases.
        has_dockerfile: Whether the habitat is built from a Dockerfile.
    """

    def __init__(self, scope: Scope, phases: Sequence[str], *, has_dockerfile: bool) -> None:
        self._scope = scope
        self._phases = phases
        self._has_dockerfile = has_dockerfile

    def named_by(self, entry: schema.HookKeys | schema.FileKeys, *key: str | int) -> Point | None:
        """Return the point that `before` or `after` of an entry names, None if it has neither. Raises ConfigError."""
        if entry.before and entry.after:
            where = self._scope.at(*key, "after")
            raise ConfigError(f"{dotted(*key)} has both before and after", where=where, remedy="keep one of them")
        when: When = "before" if entry.before else "after"
        phase = entry.before or entry.after
        if not phase:
            return None
        if remedy := self._flaw(when, phase):
            where = self._scope.at(*key, when)
            raise ConfigError(f"{dotted(*key, when)}: {remedy[0]}", where=where, remedy=remedy[1])
        return Point(when, phase)

    def _flaw(self, when: When, phase: str) -> tuple[str, str] | None:
        """Return what is wrong with a point and what to write instead, None if nothing is."""
        if phase not in self._phases:
            return f"there is no phase '{phase}'", did_you_mean(phase, self._phases, in_order=True)
        if phase == _DOCKERFILE and not self._has_dockerfile:
            return "the habitat has no Dockerfile", f"write after: {_BASE}"
        first = _DOCKERFILE if self._has_dockerfile else _BASE
        if (when, phase) == ("before", first):
            return f"there is no image before {first}", f"write after: {first}"
        return None


def files(
    scope: Scope, entries: Iterable[schema.EntryFileKeys], secret_files: Iterable[Path], points: Points, *key: str
) -> tuple[FileCopy, ...]:
    """Return the entries of `files:` or `entry.files`. A file of `secret_files` is refused."""
    return scope.each(key, entries, lambda i, entry: _file(scope, entry, secret_files, points, *key, i))


def _file(
    scope: Scope, entry: schema.EntryFileKeys, secret_files: Iterable[Path], points: Points, *key: str | int
) -> FileCopy:
    _, (source, shown), dest, owner, point = scope.problems.all(
        lambda: _check_mode(scope, entry.mode, *key),
        lambda: _file_source(scope, entry.source, secret_files, *key),
        lambda: scope.habitat_path(entry.dest, *key, "dest"),
        lambda: scope.owner(entry.owner, *key, "owner"),
        lambda: points.named_by(entry, *key) if isinstance(entry, schema.FileKeys) else None,
    )
    if scope.names_folder(entry.dest, *key, "dest") and not source.is_dir():
        dest = posixpath.join(dest, source.name)
    return FileCopy(
        source=source,
        shown=shown,
        dest=dest,
        owner=owner,
        mode=entry.mode,
        origin=scope.at(*key),
        point=point,
    )


def _check_mode(scope: Scope, mode: str, *key: str | int) -> None:
    if mode and not schema.MODE.fullmatch(mode):
        where = scope.at(*key, "mode")
        raise ConfigError(f"mode {mode!r} is not octal", where=where, remedy="write it like 0644")


def _file_source(scope: Scope, text: str, secret_files: Iterable[Path], *key: str | int) -> tuple[Path, str]:
    source, shown, _ = scope.host_path(text, *key, "source")
    if any(file.resolve() == source.resolve() for file in secret_files):
        section, place = ("files", "image") if key[0] == "files" else ("entry.files", "container's files")
        raise ConfigError(
            f"{section}: {shown} is the file of a secret, and would be in the {place}",
            where=scope.at(*key, "source"),
            remedy=f"remove it from {section}:; commands find the secret in /run/secrets",
        )
    return source, shown


def setup(scope: Scope, scripts: schema.Setup) -> tuple[Command, ...]:
    """Return the setup commands in order.

    In the map form root's come first, then USER's, then those of others by name: the order of keys has no meaning.
    """
    blocks: list[tuple[str, list[str], tuple[str | int, ...]]]
    if isinstance(scripts, dict):
        users = sorted(scripts, key=lambda name: (name != "root", name != "user", name))
        blocks = [(user, scripts[user], ("setup", user)) for user in users]
    else:
        blocks = [(block.run_as, block.commands, ("setup", i, "commands")) for i, block in enumerate(scripts)]
    result: list[Command] = []
    for user, texts, key in blocks:
        if not scope.is_wrong(*key[:2]):
            with scope.problems:
                result += commands(scope, user, texts, *key)
    return tuple(result)


def commands(scope: Scope, user: str, scripts: list[str], *key: str | int) -> tuple[Command, ...]:
    """Return the scripts of a list whose key is `key`, for one user."""
    name = scope.user if user == "user" else user
    if not USER.fullmatch(name):
        raise ConfigError(f"{name!r} is not a user name", where=scope.at(*key), remedy="use root, user or a name")
    return scope.each(key, scripts, lambda i, text: Command(name, scope.argument(text, *key, i), scope.at(*key, i)))


def hooks(scope: Scope, entries: Iterable[schema.HookKeys], points: Points) -> tuple[HookCommand, ...]:
    """Return the commands of `hooks:`, in the order of the config."""
    return tuple(chain.from_iterable(scope.each(("hooks",), entries, lambda i, entry: _hook(scope, i, entry, points))))


def _hook(scope: Scope, i: int, entry: schema.HookKeys, points: Points) -> list[HookCommand]:
    key = ("hooks", i, "commands")
    point, own = scope.problems.all(
        lambda: points.named_by(entry, "hooks", i) or _AFTER_SETUP,
        lambda: commands(scope, entry.run_as, entry.commands, *key),
    )
    description = " ".join(entry.description.split())
    return [HookCommand(point, command, dotted(*key, j), description) for j, command in enumerate(own)]


def repos(
    scope: Scope, entries: Iterable[schema.RepoKeys], secrets: Iterable[Secret], dests: Collection[str] = ()
) -> tuple[RepoClone, ...]:
    """Return the entries of `repos:`, whose tokens are among `secrets`. dests: where volumes are mounted."""
    return scope.each(("repos",), entries, lambda i, entry: _repo(scope, i, entry, secrets, dests))


def _repo(scope: Scope, i: int, entry: schema.RepoKeys, secrets: Iterable[Secret], dests: Collection[str]) -> RepoClone:
    words, path, owner, _, known_hosts = scope.problems.all(
        lambda: _git_words(scope, i, entry),
        lambda: scope.habitat_path(entry.path, "repos", i, "path"),
        lambda: scope.owner(entry.owner, "repos", i, "owner"),
        lambda: _check_numbers(scope, i, entry),
        lambda: config_secrets.known_hosts(scope, i, entry),
    )
    user = owner.partition(":")[0] or scope.user
    return RepoClone(
        **words,
        path=path,
        depth=entry.depth,
        owner=owner,
        setup=commands(scope, user, entry.setup, "repos", i, "setup"),
        origin=scope.at("repos", i),
        token=config_secrets.token(scope, i, entry, words["url"], secrets),
        known_hosts=known_hosts,
        submodules=None if entry.submodules is UNSET else entry.submodules,
        lfs=None if entry.lfs is UNSET else entry.lfs,
        local=git_refs.local_repository(scope, i, entry, words["url"], dests),
        writable=entry.writable,
    )


def _git_words(scope: Scope, i: int, entry: schema.RepoKeys) -> dict[str, str]:
    """Return url, branch and ref. Raises ConfigError."""
    if entry.branch and entry.ref:
        where = scope.at("repos", i)
        raise ConfigError(f"repos[{i}] has both branch and ref", where=where, remedy="keep one of them")
    # Before variables are filled in: an error about a variable would quote a password with a `$`.
    _check(git_refs.check_credentials, entry.url, scope, i, "url")
    words = {key: scope.expand(getattr(entry, key), "repos", i, key) for key in ("url", "branch", "ref")}
    for key, word in words.items():
        check = git_refs.check_url if key == "url" else git_refs.check_ref
        _check(check, word, scope, i, key)
    return words


def _check_numbers(scope: Scope, i: int, entry: schema.RepoKeys) -> None:
    if not 0 <= entry.depth < 2**31:
        rule, remedy = f"a number of commits from 1 to {2**31 - 1}", "leave the key out to get all commits"
        raise scope.wrong_value(entry.depth, rule, remedy, "repos", i, "depth")
    if not entry.writable and scope.user == "root":
        problem, remedy = "repos: USER is root, who can write to every file", "set another USER, or leave writable out"
        raise ConfigError(problem, where=scope.at("repos", i, "writable"), remedy=remedy)


def _check(check: Callable[[str], None], word: str, scope: Scope, i: int, key: str) -> None:
    try:
        check(word)
    except git_refs.GitValueError as error:
        problem, remedy = error.args
        raise ConfigError(problem.format(key), where=scope.at("repos", i, key), remedy=remedy) from None


def required(scope: Scope, texts: Iterable[str]) -> tuple[tuple[str, Origin], ...]:
    """Return the paths of `verify-fs:`, each with its line."""
    key = ("verify-fs", "required_files")
    return scope.each(key, texts, lambda i, text: (scope.habitat_path(text, *key, i), scope.at(*key, i)))


def tests(scope: Scope, entries: Iterable[str | schema.TestKeys], *, has_init: bool) -> tuple[TestScript, ...]:
    """Return the entries of `tests:`. has_init: whether there is an `entry.init_command`."""
    return scope.each(("tests",), entries, lambda i, entry: _test(scope, i, entry, has_init=has_init))


def _test(scope: Scope, i: int, entry: str | schema.TestKeys, *, has_init: bool) -> TestScript:
    text, init, key = (entry, False, ()) if isinstance(entry, str) else (entry.run, entry.init, ("run",))
    source, shown, _ = scope.host_path(text, "tests", i, *key)
    origin = scope.at("tests", i, *key)
    if init and not has_init:
        raise ConfigError(
            f"tests: {shown} has init: true, and there is no entry.init_command",
            where=scope.at("tests", i, "init"),
            remedy="write entry.init_command, or leave init out",
        )
    if not source.is_file():
        raise ConfigError(f"tests: {shown} is not a file", where=origin, remedy="name a script")
    source = Path(os.path.normpath(source))
    layer = next(layer for layer in scope.layers if layer.name == origin.layer)
    is_in_layer = source.is_relative_to(layer.folder)
    place = source.relative_to(layer.folder) if is_in_layer else f"tests/{source.name}"
    return TestScript(source, shown, f"{layer.dest or '/tmp/habitat'}/{place}", layer, origin, init)  # noqa: S108
