"""COPY, and ADD of what is no archive, as `files:` or as a script that copies out of the habitat's folder."""

from __future__ import annotations

import fnmatch
import posixpath
import re
import shlex
import stat
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from phases.core.files import tree as files_tree
from phases.core.files.ignore import dockerignore
from phases.core.migrate.result import quoted
from phases.core.model import BEFORE_MIGRATION, OWN_PHASE

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
    from pathlib import Path

    from phases.core.files.ignore import Ignore
    from phases.core.files.tree import Item
    from phases.core.migrate.dockerfile import Instruction

# What of a habitat's folder is the habitat's, though `COPY .` takes it all.
_OURS = ("config.yaml", BEFORE_MIGRATION, "Dockerfile", "Dockerfile.rest", ".dockerignore", ".habignore")

_OWNER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,31})?")
_ARCHIVES = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0")


class Unsayable(Exception):
    """No config says the same; the text is why."""


@dataclass(frozen=True)
class Copied:
    """What is copied at once. source: relative to the habitat's folder; mode: octal; by_itself: the mode that
    it has in a habitat's copy.
    """

    source: str
    dest: str
    owner: str
    mode: str
    by_itself: str
    kind: Literal["file", "dir", "link"]

    def entry(self) -> dict[str, str]:
        """As an element of `files:`. Raises Unsayable."""
        if self.kind == "link":
            raise Unsayable(f"{self.source} is a link, and what is beside it can't be copied as a whole")
        place = {"source": quoted(self.source), "dest": quoted(self.dest), "owner": self.owner}
        return place if self.mode == self.by_itself else {**place, "mode": self.mode}

    def script(self, folders: Collection[str]) -> list[str]:
        """As commands of root's, for a habitat's folder that is at $LOCAL_PATH. folders: that are there already."""
        source = '"$LOCAL_PATH"' if self.source == "." else f'"$LOCAL_PATH"/{shlex.quote(self.source)}'
        dest = shlex.quote(self.dest)
        if self.kind == "dir":
            return [*self._make(self.dest, folders), *self._copy_below(source, dest)]
        lines = [*self._make(posixpath.dirname(self.dest), folders), f"rm -f {dest}", f"cp -P {source} {dest}"]
        if self.mode != self.by_itself:
            lines.append(f"chmod {self.mode} {dest}")
        return lines if self.owner == "root" else [*lines, f"chown -h {self._ids} {dest}"]

    def _copy_below(self, source: str, dest: str) -> list[str]:
        """What is there and no folder is replaced; folders that are there keep their modes."""
        lines = [f"cd {source}", f"find . ! -type d -exec rm -f {dest}/{{}} \\;", f"cp -R . {dest}"]
        own = f"find . ! -name . -exec chown -h {self._ids} {dest}/{{}} \\;"
        return lines if self.owner == "root" else [*lines, own]

    def _make(self, path: str, folders: Collection[str]) -> list[str]:
        """Folders that are missing on the way get the owner, too."""
        if path in folders:
            return []
        if self.owner == "root":
            return [f"mkdir -p {shlex.quote(path)}"]
        name = shlex.quote(path)
        fresh = f"[ -d {name} ] || {{ mkdir {name}; chown {self._ids} {name}; }}"
        return [*self._make(posixpath.dirname(path), folders), fresh]

    @property
    def _ids(self) -> str:
        """For chown. A number is that of the group as well; a name's own group stands behind a colon."""
        if ":" in self.owner:
            return self.owner
        return f"{self.owner}:{self.owner if self.owner.isdigit() else ''}"


@dataclass(frozen=True)
class Context:
    """The habitat's folder. ignore: what `.habignore` and the like leave out of all that is copied."""

    folder: Path
    ignore: Ignore

    @cached_property
    def docker(self) -> Mapping[str, Item]:
        """What `docker build` sees, but for the habitat's own."""
        ours = dockerignore(self.folder).also(*(f"/{name}" for name in _OURS))
        seen = files_tree.walk(self.folder, ours)
        return {item.path: item for item in seen if item.path not in _OURS}

    @cached_property
    def local(self) -> Mapping[str, Item]:
        """What is at $LOCAL_PATH in the habitat."""
        ignore = self.ignore.also(*OWN_PHASE).also_if(dockerignore(self.folder))
        return {item.path: item for item in files_tree.walk(self.folder, ignore) if item.path not in _OURS}

    def copied_as_whole(self, path: str) -> bool:
        """Whether `files:` copies of a folder just what docker does."""
        seen = _below(self.docker, path)
        copied = {item.path: item.mode for item in files_tree.walk(self.folder / path, self.ignore) if item.path}
        return {name: item.mode for name, item in seen.items()} == copied

    def is_local(self, path: str) -> bool:
        """Whether all that docker sees at a path is at $LOCAL_PATH, and no more."""
        return path in self.local and _below(self.docker, path).keys() == _below(self.local, path).keys()


def _below(tree: Mapping[str, Item], path: str) -> dict[str, Item]:
    prefix = f"{path}/" if path else ""
    return {name.removeprefix(prefix): item for name, item in tree.items() if name and name.startswith(prefix)}


def sources(context: Context, instruction: Instruction, words: Sequence[str]) -> list[str]:
    """The paths that an instruction copies, wildcards resolved. Raises Unsayable."""
    found: list[str] = []
    for word in words:
        path = posixpath.normpath("/" + word).lstrip("/")
        if re.match(r"[a-z][a-z0-9+.-]*://|git@", word):
            raise Unsayable("it fetches from the network")
        matching = [path]
        if re.search(r"[*?\[]", path):
            depth = path.count("/")
            matching = [name for name in context.docker if name.count("/") == depth and _matches(name, path)]
        if not matching or any(name not in context.docker for name in matching):
            raise Unsayable(f"there is no {word} in the habitat's folder")
        if instruction.name == "ADD" and any(_is_archive(context.docker[name]) for name in matching):
            raise Unsayable("ADD unpacks an archive")
        found += matching
    return found


def _matches(name: str, pattern: str) -> bool:
    """A * stays within a name."""
    return all(map(fnmatch.fnmatchcase, name.split("/"), pattern.split("/")))


def _is_archive(item: Item) -> bool:
    if item.kind != "file":
        return False
    with item.source.open("rb") as file:
        head = file.read(512)
    return head.startswith(_ARCHIVES) or head[257:262] == b"ustar"


def owner(flags: Mapping[str, list[str]]) -> str:
    """Raises Unsayable. A number alone is that of the group as well, a name alone has its own."""
    said = flags.get("chown", ["root"])[-1]
    if not _OWNER.fullmatch(said):
        raise Unsayable(f"--chown={said} names nobody")
    return "root" if said in ("0", "0:0", "root:root") else said


def mode(flags: Mapping[str, list[str]]) -> str:
    said = flags.get("chmod", [""])[-1]
    if said and not re.fullmatch(r"[0-7]{3,4}", said):
        raise Unsayable(f"--chmod={said} is not octal")
    return said


def plan(
    context: Context, paths: Sequence[str], dest: str, rights: tuple[str, str], whole: Callable[[str], bool]
) -> Iterator[Copied]:
    """What copies `paths` just as docker does. dest: absolute, with a slash at the end where it is a folder;
    rights: owner and, unless each file's own holds, mode; whole: whether a folder can be copied at once.
    """
    for path in paths:
        item = context.docker[path]
        if item.kind == "link":
            raise Unsayable(f"{path} is a link, which docker follows")
        if item.kind == "file":
            place = posixpath.join(dest, posixpath.basename(path)) if dest.endswith("/") else dest
            yield _single(item, place, rights)
        else:
            yield from _folder(context, path, dest.rstrip("/") or "/", rights, whole)


def _single(item: Item, dest: str, rights: tuple[str, str]) -> Copied:
    owner, bits = rights
    return Copied(item.path, dest, owner, bits or _mode(item), f"{item.mode:04o}", item.kind)


def _folder(
    context: Context, path: str, dest: str, rights: tuple[str, str], whole: Callable[[str], bool]
) -> Iterator[Copied]:
    owner, bits = rights
    below = _below(context.docker, path)
    is_plain = all(_mode(item) == f"{item.mode:04o}" for item in below.values())
    if (is_plain or bits) and whole(path):
        if bits not in ("", "755", "0755"):
            raise Unsayable("--chmod holds for folders, too")
        yield Copied(path or ".", dest, owner, bits, "", "dir")
        return
    for name, item in below.items():
        if "/" in name:
            continue
        place = posixpath.join(dest, name)
        if item.kind == "dir":
            yield from _folder(context, item.path, place, rights, whole)
        else:
            yield _single(item, place, rights)


def _mode(item: Item) -> str:
    """A file's mode; what an umask made of it besides is nothing that anybody meant."""
    bits = stat.S_IMODE(item.source.lstat().st_mode)
    if item.kind != "file" or bits in (0o644, 0o664, 0o755, 0o775):
        return f"{item.mode:04o}"
    return f"{bits:04o}"
