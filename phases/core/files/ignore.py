"""Decide which files of a folder are left out: built-in patterns and .habignore.

Importing pathspec takes as long as anything else in a run with nothing to do. So patterns of the simple forms that
most ignore files have, and all built-in ones, are matched here without it.
"""

from __future__ import annotations

import re
import warnings
from collections import defaultdict
from functools import lru_cache, partial
from itertools import starmap
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from phases.core.errors import ConfigError
from phases.core.files import safe_open

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence
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

# What editors and file managers write beside a file while a person works on it.
_EDITOR_FILES = (
    # vim: swap files, and the file by which it tries whether it may write
    *(".*.swp", ".*.swo", ".*.swn", ".*.swx", ".swp", ".swo", "4913"),
    # Emacs: locks and unsaved text; and the copies that many editors keep
    *(".#*", r"\#*\#", "?*~"),
    # Kate, gedit, LibreOffice, JetBrains
    *(".*.kate-swp", ".goutputstream-*", ".~lock.*#", "*___jb_tmp___", "*___jb_old___"),
    *(".DS_Store", "Thumbs.db", ".nfs*", ".fuse_hidden*"),
)

#: All built-in patterns: those names, and what no habitat wants.
DEFAULT_IGNORE = (*CREDENTIALS, ".git", *_EDITOR_FILES)

#: Folders of programs that run on the host. They are left out of the folders of layers, which people edit.
TOOL_FOLDERS = (".idea", ".vscode", "__pycache__")

#: The name of an ignore file.
HABIGNORE = ".habignore"

#: What patterns do with a path: True if they leave it out, False if they include it again, None if neither.
Verdict: TypeAlias = "Callable[[str], bool | None]"

# Bytes of an ignore file: far above any that a person writes.
_MAX_BYTES = 1_000_000

# A pattern that needs no library: a name, or its beginning or end; anywhere or at the root; of anything or of a folder.
_PLAIN = re.compile(
    r"(?P<root>/?)(?P<star>\*?)(?P<word>[\w.~-]*[\w~-]|[\w.~-]+(?=\*))(?P<more>\*?)(?P<folder>/?)", re.ASCII
)

# Another one: the beginning and the end of a name, which may have one more character before both.
_ENDS = re.compile(r"(?P<one>\??)(?P<begin>\\#|[\w.~-][\w.~#-]*|)\*(?P<end>\\#|[\w.~#-]*)", re.ASCII)


class Rule(NamedTuple):
    """One rule for what is left out of a tree. All functions take a relative path; a folder's ends with a slash.

    Attributes:
        matches: Whether the path is left out.
        includes_below: Whether a folder that is left out may hold a file that isn't.
        enter: As `Ignore.enter`.
    """

    matches: Callable[[str], bool]
    includes_below: Callable[[str], bool] = lambda _: False
    enter: Callable[[str, Collection[str]], None] = lambda *_: None


class Ignore:
    """The rules for what is left out of one tree. Call it with a relative path; a folder's ends with a slash."""

    def __init__(self, *rules: Rule) -> None:
        self._rules = rules

    def __call__(self, path: str) -> bool:
        for rule in self._rules:  # noqa: SIM110 (any() takes twice as long, and this runs for every file)
            if rule.matches(path):
                return True
        return False

    def includes_below(self, folder: str) -> bool:
        """Return whether a folder that is left out may hold a file that isn't."""
        return all(rule.includes_below(folder) for rule in self._rules if rule.matches(folder))

    def enter(self, folder: str, names: Collection[str]) -> None:
        """Note the names in a folder, "" for the root, before paths in it are asked for. Nobody has to call this."""
        for rule in self._rules:
            rule.enter(folder, names)

    def also(self, *patterns: str) -> Ignore:
        """Return these rules plus gitignore `patterns`."""
        verdict = gitignore_verdict(patterns)
        return self.also_if(lambda path: bool(verdict(path)))

    def also_if(self, matches: Callable[[str], bool]) -> Ignore:
        """Return these rules plus one more matcher."""
        return Ignore(*self._rules, Rule(matches))

    def also_by(self, other: Ignore) -> Ignore:
        """Return these rules plus those of `other`."""
        return Ignore(*self._rules, *other._rules)


def is_one_of(root: Path, paths: Iterable[Path]) -> Callable[[str], bool]:
    """Return a matcher, of paths relative to `root`, for exactly these paths, however they are spelled."""
    top = root.resolve()
    inside = {path.relative_to(top).as_posix() for path in (p.resolve() for p in paths) if path.is_relative_to(top)}
    return lambda path: path.removesuffix("/") in inside


def habignore_lines(folder: Path) -> list[str]:
    """Return the lines of a folder's .habignore.

    Raises:
        ConfigError: The file is not readable, or has a line that is no pattern.
    """
    path = folder / HABIGNORE
    lines = read_lines(path)
    for number, line in enumerate(lines, start=1):
        _check_pattern(line, f"{path}:{number}")
    return lines


def read_lines(path: Path) -> list[str]:
    """Return the lines of an ignore file, split as git and Docker split them; none if there is no such file.

    Raises:
        ConfigError: The file is not readable.
    """
    try:
        data = safe_open.read(path, _MAX_BYTES) or b""
        text = data.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        remedy = "save it as UTF-8, or remove it"
        raise ConfigError("can't be read as UTF-8 text", where=str(path), remedy=remedy) from error
    if len(data) > _MAX_BYTES:
        raise ConfigError(f"is larger than {_MAX_BYTES:,} bytes", where=str(path), remedy="use fewer patterns")
    return [line.removesuffix("\r") for line in text.split("\n")]


def _check_pattern(line: str, where: str) -> None:
    if _plain_match(line) or not _is_pattern(line):
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


def _plain_match(line: str) -> re.Match[str] | None:
    """Return the match of a pattern with _PLAIN or _ENDS, None if it needs a library."""
    match = _PLAIN.fullmatch(line)
    return match if match and not (match["star"] and (match["root"] or match["more"])) else _ENDS.fullmatch(line)


def gitignore_verdict(lines: Iterable[str]) -> Verdict:
    """Return a function that says of a path what gitignore patterns do with it. It loads pathspec only if needed.

    It answers for the path itself, not for folders above it. The walk enters no folder that is left out, as git does,
    unless an entry of `files:` names it.
    """
    return _verdict(tuple(lines))


@lru_cache
def _verdict(all_lines: tuple[str, ...]) -> Verdict:
    lines = tuple(filter(_is_pattern, all_lines))
    matches = list(filter(None, map(_plain_match, lines)))
    return _plain_verdict(matches) if len(matches) == len(lines) else _full_verdict(lines)


def _full_verdict(lines: Sequence[str]) -> Verdict:
    import pathspec

    # pathspec also matches what is below a folder, with the slash in this group, and takes `x/**` for `x`, too.
    rules = [
        (bool(pattern.include), re.compile(re.sub("/$", "/.", pattern.regex.pattern.replace("(?P<ps_d>/)", r"/\Z"))))
        for pattern in pathspec.GitIgnoreSpec.from_lines(reversed(lines)).patterns
        if isinstance(pattern, pathspec.RegexPattern) and pattern.regex
    ]
    return lambda path: next((include for include, regex in rules if regex.search(path)), None)


def _plain_verdict(matches: Sequence[re.Match[str]]) -> Verdict:
    """Return the function for plain patterns, which takes as long for a hundred of them as for one."""
    of_folders = _Words(matches)
    for_all = [match for match in matches if not match.groupdict().get("folder")]
    of_files = of_folders if len(for_all) == len(matches) else _Words(for_all)

    return lambda path: (of_folders.match(path[:-1]) if path.endswith("/") else of_files.match(path)) or None


class _Words:
    """The words of plain patterns, sorted by the part of a path that each is compared with.

    Args:
        matches: Matches of _PLAIN and _ENDS.
    """

    def __init__(self, matches: Iterable[re.Match[str]]) -> None:
        words: defaultdict[str, list[str]] = defaultdict(list)
        both_ends: list[tuple[int, str, str]] = []
        for match in matches:
            if match.re is _PLAIN:
                words[match["root"] + match["star"] + match["more"].replace("*", "+")].append(match["word"])
                continue
            one, begin, end = (part.lstrip("\\") for part in match.group("one", "begin", "end"))
            if begin and not one and not end:
                words["+"].append(begin)
            else:
                both_ends.append((len(one), begin, end))
        self._names, self._paths = frozenset(words[""]), frozenset(words["/"])
        self._ends, self._begins, self._path_begins = tuple(words["*"]), tuple(words["+"]), tuple(words["/+"])
        self._both_ends = both_ends
        self._last_ends = tuple(end for _, _, end in both_ends)  # asked first, since few names have one

    def match(self, path: str) -> bool:
        name = path.rpartition("/")[2]
        return (
            name in self._names
            or path in self._paths
            or name.endswith(self._ends)
            or name.startswith(self._begins)
            or (name == path and name.startswith(self._path_begins))
            or (name.endswith(self._last_ends) and any(starmap(partial(_has_both_ends, name), self._both_ends)))
        )


def _has_both_ends(name: str, one: int, begin: str, end: str) -> bool:
    return name.startswith(begin, one) and name.endswith(end) and len(name) >= one + len(begin) + len(end)
