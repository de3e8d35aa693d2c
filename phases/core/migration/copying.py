"""COPY, and ADD of what is no archive, as `files:` or as a script that copies out of the habitat's folder."""

from __future__ import annotations

import fnmatch
import posixpath
import re
import shlex
import stat
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from phases.core import trees
from phases.core.migration.draft import quoted
from phases.core.model import BEFORE_MIGRATION, OWN_PHASE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from phases.core.migration.dockerfile import Instruction
    from phases.core.trees import Ignore, Item

# What of a habitat's folder is the habitat's, though `COPY .` takes it all.
_OURS = ("config.yaml", BEFORE_MIGRATION, "Dockerfile", "Dockerfile.rest", ".dockerignore", ".habignore")

_OWNER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,31})?")
_ARCHIVES = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0")


class Unsayable(Exception):
    """No config says the same; the text is why."""


@dataclass(frozen=True)
class Copied:
    """A file or a folder that is copied. source: relative to the habitat's folder; mode: octal, "" for 0644;
    by_itself: the one that `files:` gives it.
    """

    source: str
    dest: str
    owner: str
    mode: str
    is_dir: bool = False
    by_itself: str = ""

    def entry(self) -> dict[str, str]:
        """As an element of `files:`."""
        place = {"source": quoted(self.source), "dest": quoted(self.dest), "owner": self.owner}
        return place if self.mode == self.by_itself else {**place, "mode": self.mode or "0644"}

    def script(self) -> list[str]:
        """As commands of root's, for a habitat's folder that is at $LOCAL_PATH."""
        source = f'"$LOCAL_PATH"/{shlex.quote(self.source)}' if self.source != "." else '"$LOCAL_PATH"'
        dest, (user, _, group) = shlex.quote(self.dest), self.owner.partition(":")
        if not self.is_dir:
            mode = self.mode or "0644"
            own = f"-o {user} -g {group or (user if user.isdigit() else f'$(id -g {user})')}"
            parent = shlex.quote(posixpath.dirname(self.dest))
            return [f"mkdir -p {parent}", f"install -m {mode} {own} {source} {dest}"]
        root = self.owner == "root"
        fresh = f"mkdir -p {dest}" if root else f"[ -d {dest} ] || {{ mkdir -p {dest} && chown {self.owner} {dest}; }}"
        whole = [fresh, f"cd {source}", f"find . ! -type d -exec rm -f {dest}/{{}} \\;", f"cp -R . {dest}"]
        return whole if root else [*whole, f"find . ! -name . -exec chown -h {self.owner} {dest}/{{}} \\;"]


@dataclass(frozen=True)
class Context:
    """The habitat's folder. ignore: what `.habignore` and the like leave out of all that is copied."""

    folder: Path
    ignore: Ignore

    @cached_property
    def docker(self) -> Mapping[str, Item]:
        """What `docker build` sees, but for the habitat's own."""
        ours = trees.dockerignore(self.folder).also(*(f"/{name}" for name in _OURS))
        seen = trees.walk(self.folder, ours)
        return {item.path: item for item in seen if item.path not in _OURS}

    @cached_property
    def local(self) -> Mapping[str, Item]:
        """What is at $LOCAL_PATH in the habitat."""
        ignore = self.ignore.also(*OWN_PHASE).and_(trees.dockerignore(self.folder))
        return {item.path: item for item in trees.walk(self.folder, ignore) if item.path not in _OURS}

    def copied_as_whole(self, path: str) -> bool:
        """Whether `files:` copies of a folder just what docker does."""
        seen = _below(self.docker, path)
        copied = {item.path: item.mode for item in trees.walk(self.folder / path, self.ignore) if item.path}
        return {name: item.mode for name, item in seen.items()} == copied

    def is_local(self, path: str) -> bool:
        """Whether all that docker sees at a path is at $LOCAL_PATH, and no more."""
        if self.docker[path].kind != "dir":
            return path in self.local
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


def plan(context: Context, paths: Sequence[str], dest: str, whose: str, bits: str) -> Iterator[Copied]:
    """What copies `paths` just as docker does, a folder at once where that is the same. dest: absolute, with
    a slash at the end where it is a folder.
    """
    for path in paths:
        item = context.docker[path]
        if item.kind == "link":
            raise Unsayable(f"{path} is a link, which docker follows")
        if item.kind == "file":
            place = posixpath.join(dest, posixpath.basename(path)) if dest.endswith("/") else dest
            yield Copied(path, place, whose, bits or _mode(item), by_itself=_by_itself(item))
        else:
            yield from _folder(context, path, dest.rstrip("/") or "/", whose, bits)


def _folder(context: Context, path: str, dest: str, whose: str, bits: str) -> Iterator[Copied]:
    below = _below(context.docker, path)
    odd = any(_mode(item) not in ("", "0755") for item in below.values() if item.kind == "file")
    if not odd and context.copied_as_whole(path):
        if bits and any(item.kind == "dir" for item in below.values()) and bits[-3:] != "755":
            raise Unsayable("--chmod holds for folders, too")
        yield Copied(path or ".", dest, whose, bits, is_dir=True)
        return
    for name, item in below.items():
        if "/" in name:
            continue
        place = posixpath.join(dest, name)
        if item.kind == "dir":
            yield from _folder(context, f"{path}/{name}".lstrip("/"), place, whose, bits)
        else:
            yield Copied(f"{path}/{name}".lstrip("/"), place, whose, bits or _mode(item), by_itself=_by_itself(item))


def _by_itself(item: Item) -> str:
    return "0755" if item.mode == 0o755 else ""


def _mode(item: Item) -> str:
    """A file's mode, where it is neither of those that `files:` gives by itself, nor what an umask made of them."""
    if item.kind != "file":
        return ""
    bits = stat.S_IMODE(item.source.stat().st_mode)
    if bits in (0o644, 0o664):
        return ""
    return "0755" if bits in (0o755, 0o775) else f"{bits:04o}"
