"""Files and folders of the host: what is in them, what of it is copied, and what identifies it.

An identity covers what a phase really reads: names, contents, whether a file can be executed, and
where a link points. Never times, never host paths, never what an umask made of the other mode
bits: two clones of one repository are the same tree.
"""

from __future__ import annotations

import os
import re
import stat
import warnings
from contextlib import suppress
from typing import TYPE_CHECKING, Literal, TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from phases.core.errors import ConfigError, SourceChanged
from phases.core.files import safe_open
from phases.core.files.digest_cache import sha256_of, state

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from phases.core.files.digest_cache import Digests, State

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
    host; target: of a link; seen: a file as the walk found it; sha256: of a file's content, "" until
    it is read.
    """

    path: str
    kind: Literal["file", "dir", "link"]
    mode: int
    source: Path
    target: str = ""
    seen: State | None = None
    sha256: str = ""

    def read(self, digests: Digests | None = None) -> Item:
        """The item with its sha256. digests: may remember it."""
        if self.kind != "file" or self.sha256:
            return self
        return replace(self, sha256=_sha256(self.source, self.seen, digests))

    def identity(self) -> str:
        """One word that changes when the item does."""
        if self.kind == "dir":
            return "dir"
        if self.kind == "link":
            return f"link {self.target}"
        return f"{self.mode:o} {self.read().sha256}"


def identity(items: Iterable[Item]) -> dict[str, str]:
    """A tree as a person can read it in a slice: path to identity."""
    return {item.path: item.identity() for item in items}


def _sha256(path: Path, seen: State | None, digests: Digests | None) -> str:
    try:
        seen = seen or state(path.stat())
        return digests.sha256(path, seen) if digests else sha256_of(path, seen)[0]
    except OSError as error:
        raise _unreadable(path, error) from error


# How often a tree is read in which something is replaced meanwhile, as editors do.
_TRIES = 3


class Sources:
    """The trees that a habitat copies. Each is read once, so a phase's slice and its plan tell of the same files.

    digests: may remember what is in them.
    """

    def __init__(self, digests: Digests | None = None) -> None:
        self._digests = digests
        self._read: dict[tuple[str, Path], tuple[Item, ...]] = {}
        self._files: dict[Path, bool] = {}

    def tree(self, purpose: str, root: Path, ignore: Callable[[], Ignore]) -> tuple[Item, ...]:
        """The tree at `root`, its files read.

        Args:
            purpose: tells apart trees of one root that leave out different files.
            root: a file or a folder.
            ignore: returns what is left out.

        Raises:
            ConfigError: for what can't be copied.

        """
        if (purpose, root) not in self._read:
            self._read[purpose, root] = self._walked(root, ignore())
        return self._read[purpose, root]

    def has_file(self, path: Path) -> bool:
        """Whether a file is at `path`: the same answer for the whole run."""
        if path not in self._files:
            self._files[path] = path.is_file()
        return self._files[path]

    def save(self) -> None:
        """Remember the digests for other runs. Raises StateError."""
        if self._digests:
            self._digests.save()

    def forget(self, path: Path) -> None:
        """Look into a file again in the next run, since its content was not what its digest says."""
        if self._digests:
            self._digests.forget(path)

    def _walked(self, root: Path, ignore: Ignore) -> tuple[Item, ...]:
        def walked() -> tuple[Item, ...]:
            return tuple(item.read(self._digests) for item in walk(root, ignore))

        for _ in range(_TRIES - 1):
            with suppress(SourceChanged):
                return walked()
        return walked()


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
        return _plainly(plain)
    import pathspec

    return pathspec.GitIgnoreSpec.from_lines(lines).match_file


def _says_something(line: str) -> bool:
    """Whether it is neither empty nor a comment."""
    return bool(line.strip()) and line[0] != "#"


def _plainly(patterns: Sequence[Mapping[str, str]]) -> Callable[[str], bool]:
    """Return a matcher of plain patterns, which takes as long for a hundred of them as for one.

    It is not asked about what is in a folder that is left out, since those are not entered.
    """
    of_files = _Words([pattern for pattern in patterns if not pattern["folder"]])
    of_folders = _Words(patterns)
    return lambda path: of_folders.match(path[:-1]) if path.endswith("/") else of_files.match(path)


class _Words:
    """The words of plain patterns, by what of a path each is compared with."""

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
        data = safe_open.read(path, _MAX_RULES) or b""
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
    yield _item(root, "", info, "")
    if stat.S_ISDIR(info.st_mode):
        yield from _below(root, info, ignore)


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


#: Its path in the tree, where it is, what it is, and where it leads if it is a link.
_Found: TypeAlias = "tuple[str, Path, os.stat_result, str]"


def _below(root: Path, seen: os.stat_result, ignore: Ignore) -> Iterator[Item]:
    """Without recursion: a tree may be deeper than that goes."""
    todo = _entries(root, "", seen)
    while todo:
        path, source, info, target = todo.pop()
        is_dir = stat.S_ISDIR(info.st_mode)
        if ignore(path + "/" if is_dir else path):
            continue
        yield _item(source, path, info, target)
        if is_dir:
            todo += _entries(source, path + "/", info)


def _entries(folder: Path, prefix: str, seen: os.stat_result) -> list[_Found]:
    """What is in a folder, by name, the last first: as a stack. seen: the folder as it was found, since somebody
    may have put a link to another one in its place.
    """
    place = folder
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            if not os.path.samestat(os.fstat(descriptor), seen):
                raise SourceChanged(folder, "was replaced while it was read")
            found: list[_Found] = []
            for name in sorted(os.listdir(descriptor), reverse=True):  # noqa: PTH208 (a folder may hold ten thousand)
                place = folder / name
                info = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
                target = os.readlink(name, dir_fd=descriptor) if stat.S_ISLNK(info.st_mode) else ""
                found.append((prefix + name, place, info, target))
        finally:
            os.close(descriptor)
    except OSError as error:
        raise _unreadable(place, error) from error
    return found


def _item(source: Path, path: str, info: os.stat_result, target: str) -> Item:
    if stat.S_ISDIR(info.st_mode):
        return Item(path, "dir", 0o755, source)
    if stat.S_ISLNK(info.st_mode):
        return Item(path, "link", 0o777, source, target)
    if stat.S_ISREG(info.st_mode):
        return Item(path, "file", 0o755 if info.st_mode & stat.S_IXUSR else 0o644, source, seen=state(info))
    raise ConfigError("is neither a file, a folder nor a link", where=str(source), remedy="name it in .habignore")
