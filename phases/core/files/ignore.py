"""Decide which files of a folder are left out: built-in patterns, .habignore and .dockerignore.

Importing pathspec takes as long as anything else in a run with nothing to do. So patterns of the simple forms that
most ignore files have, and all built-in ones, are matched here without it.
"""

from __future__ import annotations

import os
import re
import warnings
from typing import TYPE_CHECKING

from phases.core.errors import ConfigError
from phases.core.files import safe_open

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

#: Names that tend to hold secrets: left out of every copied folder unless a .habignore includes them again with `!`.
CREDENTIALS = (
    # Keys, and stores of keys
    *("*.pem", "*_key", "*.key", "*.p12", "*.pfx", "*.jks", "*.keystore", "*.ppk", "*.kdbx", "*.keytab"),
    *("id_rsa", "id_dsa", "id_ecdsa", "id_ed25519", "id_ecdsa_sk", "id_ed25519_sk"),
    *(".ssh", ".gnupg", ".password-store"),
    # Of clouds and clusters
    *(".aws", ".azure", ".gcloud", ".oci", ".kube", ".docker", ".dockercfg", ".s3cfg", ".boto", ".vault-token"),
    *("application_default_credentials.json", ".terraformrc", ".terraform.d", "*.tfstate", "*.tfstate.backup"),
    # Of programs
    *(".npmrc", ".pypirc", ".netrc", "_netrc", ".authinfo*", ".git-credentials", ".credentials.json", ".htpasswd"),
    *(".pgpass", ".my.cnf", ".mylogin.cnf", ".vault_pass*", ".env", ".env.*"),
    # Histories of what a person typed
    *(".bash_history", ".zsh_history", ".sh_history", ".psql_history", ".mysql_history", ".rediscli_history"),
)

#: All built-in patterns: those names, and what no habitat wants.
DEFAULT_IGNORE = (*CREDENTIALS, ".git", ".DS_Store")

# Bytes of an ignore file: far above any that a person writes.
_MAX_BYTES = 1_000_000

# A pattern that needs no library: a name, or its beginning or end; anywhere or at the root; of anything or of a folder.
_PLAIN = re.compile(
    r"(?P<root>/?)(?P<star>\*?)(?P<word>[\w.-]*[\w-]|[\w.-]+(?=\*))(?P<more>\*?)(?P<folder>/?)", re.ASCII
)


class Ignore:
    """The rules for what is left out of one tree. Call it with a relative path; a folder's ends with a slash."""

    def __init__(self, *matchers: Callable[[str], bool]) -> None:
        self._matchers = matchers

    def __call__(self, path: str) -> bool:
        return any(matches(path) for matches in self._matchers)

    def also(self, *patterns: str) -> Ignore:
        """Return these rules plus gitignore `patterns`."""
        return Ignore(*self._matchers, _gitignore(patterns))

    def also_if(self, matches: Callable[[str], bool]) -> Ignore:
        """Return these rules plus one more matcher."""
        return Ignore(*self._matchers, matches)


def is_one_of(root: Path, paths: Iterable[Path]) -> Callable[[str], bool]:
    """Return a matcher, of paths relative to `root`, for exactly these paths, however they are spelled."""
    top = root.resolve()
    inside = {path.relative_to(top).as_posix() for path in (p.resolve() for p in paths) if path.is_relative_to(top)}
    return lambda path: path.removesuffix("/") in inside


def habignore(folders: Iterable[Path], built_in: Sequence[str] = DEFAULT_IGNORE) -> Ignore:
    """Return the rules of the built-in patterns and of each folder's .habignore, where later ones take precedence.

    Raises:
        ConfigError: A .habignore is not readable, or has a line that is no pattern.

    """
    lines = list(built_in)
    for folder in folders:
        lines += _lines(folder / ".habignore")
    return Ignore(_gitignore(lines))


def dockerignore(folder: Path, dockerfile: str = "Dockerfile") -> Ignore:
    """Return the rules by which `docker build` leaves files of `folder` out of the context.

    Docker's patterns are gitignore's but for two rules: each is anchored at the root of the context, and the last
    pattern that matches a path or a folder above it decides. The Dockerfile always goes in, whatever its name is.

    Raises:
        ConfigError: The .dockerignore is not readable, or has a line that is no pattern.

    """

    def anchored(line: str) -> str:
        negated, pattern = line.startswith("!"), line.removeprefix("!").strip().strip("/")
        return f"{'!' if negated else ''}/{os.path.normpath(pattern)}"

    import pathspec

    rows = (line.strip() for line in _lines(folder / ".dockerignore"))
    spec = pathspec.PathSpec.from_lines("gitignore", [anchored(row) for row in rows if row and row[0] != "#"])
    patterns = [pattern for pattern in spec.patterns if pattern.include is not None]
    includes_again = any(pattern.include is False for pattern in patterns)

    def matches(path: str) -> bool:
        if path in (dockerfile, "Dockerfile", ".dockerignore") or (includes_again and path.endswith("/")):
            return False
        parts = path.removesuffix("/").split("/")
        lineage = ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]
        decisive = (p for p in reversed(patterns) if any(p.match_file(place) for place in lineage))
        return next((bool(pattern.include) for pattern in decisive), False)

    return Ignore(matches)


def _lines(path: Path) -> list[str]:
    """Return the lines of an ignore file, split as git splits them; none if there is no such file."""
    try:
        data = safe_open.read(path, _MAX_BYTES) or b""
        text = data.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        remedy = "save it as UTF-8, or remove it"
        raise ConfigError("can't be read as UTF-8 text", where=str(path), remedy=remedy) from error
    if len(data) > _MAX_BYTES:
        raise ConfigError(f"is larger than {_MAX_BYTES:,} bytes", where=str(path), remedy="use fewer patterns")
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    for number, line in enumerate(lines, start=1):
        _check_pattern(line, f"{path}:{number}")
    return lines


def _check_pattern(line: str, where: str) -> None:
    if _PLAIN.fullmatch(line) or not _is_pattern(line):
        return
    import pathspec

    try:
        with warnings.catch_warnings():
            # Python warns of a set in a set, `[[:alpha:]]`, and would match something else.
            warnings.simplefilter("error", FutureWarning)
            pathspec.GitIgnoreSpec.from_lines([line])
    except (ValueError, re.error, FutureWarning) as error:
        remedy = "fix or remove the line"
        raise ConfigError(f"{line!r} is not a gitignore pattern", where=where, remedy=remedy) from error


def _is_pattern(line: str) -> bool:
    """Return whether a line is neither blank nor a comment."""
    return bool(line.strip()) and line[0] != "#"


def _gitignore(lines: Sequence[str]) -> Callable[[str], bool]:
    """Return a matcher of gitignore patterns, which loads pathspec only for patterns that are not plain."""
    rules = [line for line in lines if _is_pattern(line)]
    matches = [_PLAIN.fullmatch(line) for line in rules]
    plain = [
        match.groupdict() for match in matches if match and not (match["star"] and (match["root"] or match["more"]))
    ]
    if len(plain) == len(rules):
        return _plain_matcher(plain)
    import pathspec

    return pathspec.GitIgnoreSpec.from_lines(lines).match_file


def _plain_matcher(patterns: Sequence[Mapping[str, str]]) -> Callable[[str], bool]:
    """Return a matcher of plain patterns, which takes as long for a hundred of them as for one.

    It answers for the path itself, not for folders above it: the walk does not enter a folder that is left out.
    """
    of_files = _Words([pattern for pattern in patterns if not pattern["folder"]])
    of_folders = _Words(patterns)
    return lambda path: of_folders.match(path[:-1]) if path.endswith("/") else of_files.match(path)


class _Words:
    """The words of plain patterns, sorted by the part of a path that each is compared with."""

    def __init__(self, patterns: Sequence[Mapping[str, str]]) -> None:
        def words(*, root: bool, star: bool, more: bool) -> Iterator[str]:
            for pattern in patterns:
                if (bool(pattern["root"]), bool(pattern["star"]), bool(pattern["more"])) == (root, star, more):
                    yield pattern["word"]

        self._names = frozenset(words(root=False, star=False, more=False))
        self._paths = frozenset(words(root=True, star=False, more=False))
        self._ends = tuple(words(root=False, star=True, more=False))
        self._begins = tuple(words(root=False, star=False, more=True))
        self._path_begins = tuple(words(root=True, star=False, more=True))

    def match(self, path: str) -> bool:
        name = path.rpartition("/")[2]
        return (
            name in self._names
            or path in self._paths
            or name.endswith(self._ends)
            or name.startswith(self._begins)
            or path.startswith(self._path_begins)
        )
