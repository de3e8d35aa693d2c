"""The files of a folder on the host: which of them are copied, and the identity of each.

An identity covers what a phase reads: names, contents, modes, and the targets of links. It covers no times and no paths
of the host. Most trees have the modes that git keeps. The context of a Dockerfile keeps all mode bits, as in `docker
build`; the identity covers all but the group's write bit, since the umask 002 of one clone and 022 of another differ in
that alone.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, Literal, TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from phases.core.errors import ConfigError, SourceChanged
from phases.core.files.digest_cache import sha256_of, state
from phases.core.files.ignore import Ignore, Rule

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from phases.core.files.digest_cache import Digests, State

# The mode bit that no identity covers.
_GROUP_WRITE = 0o020

# How often a tree is read if a file is replaced meanwhile, as editors do when they save.
_ATTEMPTS = 3


class Item(Struct, frozen=True):
    """One file, folder or symbolic link of a tree.

    Attributes:
        path: The path relative to the root of the tree, "" for the root itself.
        kind: What it is.
        mode: 0o777 for links. In an exact tree, the mode on the host; else 0o755 for folders and executable files, and
            0o644 for other files.
        source: The path on the host.
        target: The target of a link.
        seen: The state of a file when the walk met it.
        sha256: The digest of a file's content, "" until `read`.
        mtime: In an exact tree, the time of the last change in seconds; else None.
    """

    path: str
    kind: Literal["file", "dir", "link"]
    mode: int
    source: Path
    target: str = ""
    seen: State | None = None
    sha256: str = ""
    mtime: int | None = None

    def read(self, digests: Digests | None = None) -> Item:
        """Return the item with its sha256, which `digests` may remember."""
        if self.kind != "file" or self.sha256:
            return self
        return replace(self, sha256=_sha256(self.source, self.seen, digests))

    def identity(self) -> str:
        """Return one line that changes when the item does."""
        mode = f"{self.mode & ~_GROUP_WRITE:o}"
        if self.kind == "dir":
            return "dir" if mode == "755" else f"dir {mode}"
        if self.kind == "link":
            return f"link {self.target}"
        return f"{mode} {self.read().sha256}"


def identity(items: Iterable[Item]) -> dict[str, str]:
    """Return the identities of a tree's items by path, as a slice holds them."""
    return {item.path: item.identity() for item in items}


def _sha256(path: Path, seen: State | None, digests: Digests | None) -> str:
    try:
        seen = seen or state(path.stat())
        return digests.sha256(path, seen) if digests else sha256_of(path, seen)[0]
    except OSError as error:
        raise _unreadable(path, error) from error


class Sources:
    """The trees that a habitat copies, each read once in a run: a phase's slice and its plan see the same files.

    Args:
        digests: Remembers digests between runs.
    """

    def __init__(self, digests: Digests | None = None) -> None:
        self._digests = digests
        self._trees: dict[tuple[str, Path], tuple[Item, ...]] = {}
        self._has_file: dict[Path, bool] = {}

    def tree(self, purpose: str, root: Path, ignore: Callable[[], Ignore], *, exact: bool = False) -> tuple[Item, ...]:
        """Return the items at `root`, with their sha256.

        Args:
            purpose: A name for the rules in `ignore` and for `exact`, since a root may be read with several.
            root: A file or a folder.
            ignore: Returns the rules for what is left out.
            exact: As of `walk`.

        Raises:
            ConfigError: A file can't be read, or is of a kind that can't be copied.

        """
        if (purpose, root) not in self._trees:
            self._trees[purpose, root] = self._read(root, ignore(), exact=exact)
        return self._trees[purpose, root]

    def has_file(self, path: Path) -> bool:
        """Return whether there is a file at `path`: the same answer for the whole run."""
        if path not in self._has_file:
            self._has_file[path] = path.is_file()
        return self._has_file[path]

    def save(self) -> None:
        """Save the digests for later runs. Raises StateError."""
        if self._digests:
            self._digests.save()

    def forget(self, path: Path) -> None:
        """Make the next run read a file whose content did not match its digest. Raises StateError."""
        if self._digests:
            self._digests.forget(path)

    def _read(self, root: Path, ignore: Ignore, *, exact: bool) -> tuple[Item, ...]:
        def read_once() -> tuple[Item, ...]:
            return tuple(item.read(self._digests) for item in walk(root, ignore, exact=exact))

        for _ in range(_ATTEMPTS - 1):
            with suppress(SourceChanged):
                return read_once()
        return read_once()


def walk(root: Path, ignore: Ignore, *, exact: bool = False) -> Iterator[Item]:
    """Yield the root, then everything below it in the order of names.

    A root that is a link is followed; a link below it is an item of its own. A folder that is left out is yielded only
    if something below it is included again.

    Args:
        root: A file or a folder.
        ignore: The rules for what is left out.
        exact: Keep the modes and times of everything below the root. Those of the root itself are never copied.

    Raises:
        ConfigError: A file can't be read, or is a device, a FIFO or a socket.

    """
    try:
        info = root.stat()
    except OSError as error:
        raise _unreadable(root, error) from error
    yield _item(root, "", info, "")
    if stat.S_ISDIR(info.st_mode):
        yield from _below(root, info, ignore, exact=exact)


def left_out(root: Path, ignore: Ignore) -> list[str]:
    """Return the paths that `walk` leaves out; a folder's ends with a slash."""
    paths: dict[str, None] = {}

    def note(path: str) -> bool:
        if ignore(path):
            paths[path] = None
            return True
        return False

    for _ in walk(root, Ignore(Rule(note, ignore.includes_below, ignore.enter))):
        pass
    return list(paths)


# Of one entry of a folder: its path in the tree, its path on the host, its status, and the target if it is a link.
_Entry: TypeAlias = "tuple[str, Path, os.stat_result, str]"


def _below(root: Path, seen: os.stat_result, ignore: Ignore, *, exact: bool) -> Iterator[Item]:
    """Walk without recursion, since a tree may be deeper than Python's limit."""
    stack = _entries(root, "", seen, ignore)
    above: list[Item] = []  # folders that are left out, and may have something below them that isn't
    while stack:
        path, source, info, target = stack.pop()
        is_dir = stat.S_ISDIR(info.st_mode)
        place = path + "/" if is_dir else path
        above = [folder for folder in above if path.startswith(folder.path + "/")]
        is_left_out = ignore(place)
        if is_left_out and not (is_dir and ignore.includes_below(place)):
            continue
        item = _item(source, path, info, target)
        above.append(_with_exact_mode(item, info) if exact else item)
        if not is_left_out:
            yield from above
            above = []
        if is_dir:
            stack += _entries(source, place, info, ignore)


def _entries(folder: Path, prefix: str, seen: os.stat_result, ignore: Ignore) -> list[_Entry]:
    """Return the entries of a folder in reverse order of names, to be used as a stack.

    Args:
        folder: The folder.
        prefix: Its path in the tree, with a slash at the end.
        seen: Its status when the walk met it: somebody may have replaced it by a link to another folder since.
        ignore: The rules, which get to know the names in the folder.
    """
    place = folder
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            if not os.path.samestat(os.fstat(descriptor), seen):
                raise SourceChanged(folder, "was replaced while it was read")
            entries: list[_Entry] = []
            names = sorted(os.listdir(descriptor), reverse=True)  # noqa: PTH208 (a folder may hold ten thousand)
            ignore.enter(prefix, names)
            for name in names:
                place = folder / name
                info = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
                target = os.readlink(name, dir_fd=descriptor) if stat.S_ISLNK(info.st_mode) else ""
                entries.append((prefix + name, place, info, target))
        finally:
            os.close(descriptor)
    except OSError as error:
        raise _unreadable(place, error) from error
    return entries


def _item(source: Path, path: str, info: os.stat_result, target: str) -> Item:
    if stat.S_ISDIR(info.st_mode):
        return Item(path, "dir", 0o755, source)
    if stat.S_ISLNK(info.st_mode):
        return Item(path, "link", 0o777, source, target)
    if stat.S_ISREG(info.st_mode):
        return Item(path, "file", 0o755 if info.st_mode & stat.S_IXUSR else 0o644, source, seen=state(info))
    raise ConfigError("is neither a file, a folder nor a link", where=str(source), remedy="name it in .habignore")


def _with_exact_mode(item: Item, info: os.stat_result) -> Item:
    return replace(item, mode=stat.S_IMODE(info.st_mode), mtime=int(info.st_mtime))


def _unreadable(path: Path, error: OSError) -> ConfigError:
    remedy = "check that it is there, and that you may read it"
    return ConfigError(f"can't be read ({error.strerror})", where=str(path), remedy=remedy)
