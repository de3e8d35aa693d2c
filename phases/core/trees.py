"""Files and folders of the host: what is in them, what of it is copied, and what identifies it.

An identity covers what a phase really reads: names, contents, whether a file can be executed, and
where a link points. Never times, never host paths, never what an umask made of the other mode
bits: two clones of one repository are the same tree.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import warnings
from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from phases.core import files
from phases.core.digests import state
from phases.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from phases.core.digests import Digests, State

#: Left out of every copied folder unless a .habignore says `!` again: what tends to hold a secret, by its name.
CREDENTIALS = (
    # Keys, and what keeps several
    *("*.pem", "*_key", "*.key", "*.p12", "*.pfx", "*.jks", "*.keystore", "*.ppk", "*.kdbx", "*.keytab"),
    *("id_rsa", "id_dsa", "id_ecdsa", "id_ed25519", "id_ecdsa_sk", "id_ed25519_sk"),
    *(".ssh", ".gnupg", ".password-store"),
    # Of clouds and clusters
    *(".aws", ".azure", ".gcloud", ".oci", ".kube", ".docker", ".dockercfg", ".s3cfg", ".boto", ".vault-token"),
    *("application_default_credentials.json", ".terraformrc", ".terraform.d", "*.tfstate", "*.tfstate.backup"),
    # Of programs
    *(".npmrc", ".pypirc", ".netrc", "_netrc", ".authinfo*", ".git-credentials", ".credentials.json", ".htpasswd"),
    *(".pgpass", ".my.cnf", ".mylogin.cnf", ".vault_pass*", ".env", ".env.*"),
    # What was typed
    *(".bash_history", ".zsh_history", ".sh_history", ".psql_history", ".mysql_history", ".rediscli_history"),
)

#: The same, for what no habitat wants.
DEFAULT_IGNORE = (*CREDENTIALS, ".git", ".DS_Store")

# Bytes of an ignore file: far above any that a person writes.
_MAX_RULES = 1_000_000


class Item(Struct, frozen=True):
    """One file, folder or symbolic link of a tree.

    path: relative to the tree's root, "" for the root itself; mode: 0o755 or 0o644; source: on the
    host; target: of a link; seen: a file as the walk found it.
    """

    path: str
    kind: Literal["file", "dir", "link"]
    mode: int
    source: Path
    target: str = ""
    seen: State | None = None

    def identity(self, digests: Digests | None = None) -> str:
        """One word that changes when the item does. digests: may remember what is in it."""
        if self.kind == "dir":
            return "dir"
        if self.kind == "link":
            return f"link {self.target}"
        return f"{self.mode:o} {_sha256(self.source, self.seen, digests)}"


def identity(items: Iterable[Item], digests: Digests | None = None) -> dict[str, str]:
    """A tree as a person can read it in a slice: path to identity."""
    return {item.path: item.identity(digests) for item in items}


def _sha256(path: Path, seen: State | None, digests: Digests | None) -> str:
    try:
        if digests and seen:
            return digests.sha256(path, seen)
        with files.open_read(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise _unreadable(path, error) from error


class Ignore:
    """Decides by relative path (folders with a slash at the end) what is left out of a tree."""

    def __init__(self, *matchers: Callable[[str], bool]) -> None:
        self._matchers = matchers

    def __call__(self, path: str) -> bool:
        return any(matches(path) for matches in self._matchers)

    def also(self, *patterns: str) -> Ignore:
        """The same, and gitignore `patterns` on top."""
        return Ignore(*self._matchers, _gitignore(patterns))

    def and_(self, other: Callable[[str], bool]) -> Ignore:
        return Ignore(*self._matchers, other)


def naming(root: Path, paths: Iterable[Path]) -> Callable[[str], bool]:
    """Whether a path relative to `root` is one of `paths`, however those are written."""
    top = root.resolve()
    inside = {path.relative_to(top).as_posix() for path in (p.resolve() for p in paths) if path.is_relative_to(top)}
    return lambda path: path.removesuffix("/") in inside


def habignore(folders: Iterable[Path], built_in: Sequence[str] = DEFAULT_IGNORE) -> Ignore:
    """The built-in list, then .habignore of each folder, later ones overruling: gitignore's syntax."""
    lines = list(built_in)
    for folder in folders:
        lines += _lines(folder / ".habignore")
    return Ignore(_gitignore(lines))


# Patterns that mean the same without a library: a name, its end or its beginning, anywhere or at the root, anything or
# a folder.
_PLAIN = re.compile(
    r"(?P<root>/?)(?P<star>\*?)(?P<word>[\w.-]*[\w-]|[\w.-]+(?=\*))(?P<more>\*?)(?P<folder>/?)", re.ASCII
)


def _gitignore(lines: Sequence[str]) -> Callable[[str], bool]:
    """Whether a path is named by patterns of gitignore's.

    Importing pathspec takes as long as anything else of a run that has nothing to do, and what most
    habitats leave out is said by our own patterns.
    """
    rules = [line for line in lines if _says_something(line)]
    found = [_PLAIN.fullmatch(line) for line in rules]
    plain = [match.groupdict() for match in found if match and not (match["star"] and (match["root"] or match["more"]))]
    if len(plain) == len(rules):
        return lambda path: any(_names(pattern, path) for pattern in plain)
    import pathspec

    return pathspec.GitIgnoreSpec.from_lines(lines).match_file


def _says_something(line: str) -> bool:
    """Whether it is neither empty nor a comment."""
    return bool(line.strip()) and line[0] != "#"


def _names(pattern: Mapping[str, str], path: str) -> bool:
    """Of a plain pattern. path: no part of a folder that is left out, since those are not entered."""
    bare = path.removesuffix("/")
    name = bare if pattern["root"] else bare.rpartition("/")[2]
    if pattern["folder"] and bare == path:
        return False
    if pattern["more"]:
        return name.startswith(pattern["word"])
    return name.endswith(pattern["word"]) if pattern["star"] else name == pattern["word"]


def dockerignore(folder: Path, dockerfile: str = "Dockerfile") -> Ignore:
    """What `docker build` leaves out of the context.

    Docker's patterns are gitignore's but for two rules: each is anchored at the context's root,
    and the last that matches decides, also below an excluded folder. The Dockerfile, whatever it is
    called, always goes in.
    """

    def anchored(line: str) -> str:
        negated, pattern = line.startswith("!"), line.removeprefix("!").strip().strip("/")
        return f"{'!' if negated else ''}/{os.path.normpath(pattern)}"

    import pathspec

    rows = (line.strip() for line in _lines(folder / ".dockerignore"))
    spec = pathspec.PathSpec.from_lines("gitignore", [anchored(row) for row in rows if row and row[0] != "#"])
    patterns = [pattern for pattern in spec.patterns if pattern.include is not None]
    keeps = any(pattern.include is False for pattern in patterns)

    def matches(path: str) -> bool:
        if path in (dockerfile, "Dockerfile", ".dockerignore") or (keeps and path.endswith("/")):
            return False
        parts = path.removesuffix("/").split("/")
        lineage = ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]
        decisive = (p for p in reversed(patterns) if any(p.match_file(place) for place in lineage))
        return next((bool(pattern.include) for pattern in decisive), False)

    return Ignore(matches)


def _lines(path: Path) -> list[str]:
    """The lines of an ignore file, as git cuts them."""
    try:
        data = files.read(path, _MAX_RULES) or b""
        text = data.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError("can't be read as UTF-8 text", where=str(path), remedy="mend or remove it") from error
    if len(data) > _MAX_RULES:
        raise ConfigError(f"is larger than {_MAX_RULES:,} bytes", where=str(path), remedy="use fewer patterns")
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    for number, line in enumerate(lines, start=1):
        _check_pattern(line, f"{path}:{number}")
    return lines


def _check_pattern(line: str, where: str) -> None:
    if _PLAIN.fullmatch(line) or not _says_something(line):
        return
    import pathspec

    try:
        with warnings.catch_warnings():
            # That of a set in a set, `[[:alpha:]]`, would be taken for something else.
            warnings.simplefilter("error", FutureWarning)
            pathspec.GitIgnoreSpec.from_lines([line])
    except (ValueError, re.error, FutureWarning) as error:
        raise ConfigError(f"{line!r} is no pattern", where=where, remedy="mend it, or take it out") from error


def _unreadable(path: Path, error: OSError) -> ConfigError:
    return ConfigError(
        f"can't be read ({error.strerror})", where=str(path), remedy="check that it is there, and yours to read"
    )


def walk(root: Path, ignore: Ignore) -> Iterator[Item]:
    """The root first, then everything below it by name; ignored folders are not entered.

    A root that is a link is followed, links below it are kept as links. Raises ConfigError for
    what can't be copied: devices, FIFOs, sockets.
    """
    try:
        info = root.stat()
    except OSError as error:
        raise _unreadable(root, error) from error
    yield _item(root, "", info)
    if stat.S_ISDIR(info.st_mode):
        yield from _below(root, ignore)


def left_out(root: Path, ignore: Ignore) -> list[str]:
    """What `walk` passes by, by its path; folders with a slash at the end."""
    found: list[str] = []

    def noted(path: str) -> bool:
        if ignore(path):
            found.append(path)
            return True
        return False

    for _ in walk(root, Ignore(noted)):
        pass
    return found


def _below(root: Path, ignore: Ignore) -> Iterator[Item]:
    """Without recursion: a tree may be deeper than that goes."""
    todo = _entries(root, "")
    while todo:
        path, source = todo.pop()
        try:
            info = source.lstat()
            is_dir = stat.S_ISDIR(info.st_mode)
            if ignore(path + "/" if is_dir else path):
                continue
            item = _item(source, path, info)
        except OSError as error:
            raise _unreadable(source, error) from error
        yield item
        if is_dir:
            todo += _entries(source, path + "/")


def _entries(folder: Path, prefix: str) -> list[tuple[str, Path]]:
    """What is in a folder, by name, the last first: as a stack."""
    try:
        names = os.listdir(folder)  # noqa: PTH208 (a folder may hold ten thousand)
    except OSError as error:
        raise _unreadable(folder, error) from error
    return [(prefix + name, folder / name) for name in sorted(names, reverse=True)]


def _item(source: Path, path: str, info: os.stat_result) -> Item:
    if stat.S_ISDIR(info.st_mode):
        return Item(path, "dir", 0o755, source)
    if stat.S_ISLNK(info.st_mode):
        return Item(path, "link", 0o777, source, os.readlink(source))  # noqa: PTH115 (text, as it is stored)
    if stat.S_ISREG(info.st_mode):
        return Item(path, "file", 0o755 if info.st_mode & stat.S_IXUSR else 0o644, source, seen=state(info))
    raise ConfigError("is neither a file, a folder nor a link", where=str(source), remedy="name it in .habignore")
