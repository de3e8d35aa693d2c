"""Convert COPY, and ADD of what is no archive, into `files:` or into a script of `setup:`."""

from __future__ import annotations

import fnmatch
import posixpath
import re
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from phases.core.migrate.instructions.copied_path import FOLDERS, CopiedPath
from phases.core.migrate.result import ListItem, NotConvertible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from phases.core.files.tree import Item
    from phases.core.migrate.dockerfile import Instruction
    from phases.core.migrate.dockerfile_state import BuildState
    from phases.core.migrate.habitat_folder import HabitatFolder
    from phases.core.migrate.inputs import Inputs
    from phases.core.migrate.result import Conversion, ReportRow

_OWNER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,31})?")
_ARCHIVES = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0")


class CopyConverter:
    """Converts COPY and ADD instructions."""

    def __init__(self, inputs: Inputs, conversion: Conversion) -> None:
        self._inputs = inputs
        self._conversion = conversion

    def convert(self, instruction: Instruction, state: BuildState) -> None:
        """Convert an instruction into `files:`, or into a script of `setup:` if an earlier instruction became one.

        Raises:
            NotConvertible: No config can copy the same files.
        """
        if instruction.heredocs:
            raise NotConvertible("it copies a here-document")
        if others := instruction.flags.keys() - {"chown", "chmod", "link"}:
            raise NotConvertible(f"only docker build has --{min(others)}")
        folder, has_scripts = self._inputs.folder, bool(self._conversion.setup)
        *words, dest = (self._expand(instruction, word, state) for word in instruction.args)
        plan = _Plan(
            folder,
            owner=_owner(self._flag(instruction, "chown", "root", state)),
            mode=_mode(self._flag(instruction, "chmod", "", state)),
            is_same=folder.is_same_at_local_path if has_scripts else folder.is_same_in_files,
        )
        copied = list(plan.paths(sources(folder, instruction, words), self._dest(dest, len(words) > 1, state)))
        if any(re.search(r"[\x00-\x1f]|\{\}", one.source + one.dest) for one in copied):
            raise NotConvertible("a config can't name one of its files: the name has a control character or {}")
        row = self._conversion.report(
            instruction, "", "" if len(copied) == len(words) else "each file by name, as the folder is now"
        )
        (self._add_script if has_scripts else self._add_files)(instruction, copied, row)

    def _expand(self, instruction: Instruction, word: str, state: BuildState) -> str:
        return self._inputs.interpreter.expand(instruction, word, state)

    def _flag(self, instruction: Instruction, name: str, default: str, state: BuildState) -> str:
        values = [self._expand(instruction, value, state) for value in instruction.flags.get(name, [])]
        return values[-1] if values else default

    def _dest(self, dest: str, has_many: bool, state: BuildState) -> str:
        """Return an absolute path, with a slash at the end if it is a folder."""
        path = state.absolute(dest)
        known = {*FOLDERS, *(one.workdir for one in self._inputs.states), self._inputs.end.workdir}
        is_folder = dest.endswith(("/", "/.")) or dest in (".", "..") or path in known
        return f"{path.rstrip('/')}/" if has_many or is_folder else path

    def _add_files(self, instruction: Instruction, copied: Sequence[CopiedPath], row: ReportRow) -> None:
        files = self._conversion.files
        first, last = len(files), len(files) + len(copied) - 1
        row.place = f"files[{first}]" if len(copied) == 1 else f"files[{first}…{last}]"
        for number, one in enumerate(copied):
            files.append(ListItem(one.item(), () if number else instruction.comment))

    def _add_script(self, instruction: Instruction, copied: Sequence[CopiedPath], row: ReportRow) -> None:
        is_same = self._inputs.folder.is_same_at_local_path
        if not all(is_same(one.source.removeprefix(".")) for one in copied):
            raise NotConvertible("it comes after a RUN, and $LOCAL_PATH doesn't have all of it")
        row.place = "setup"
        folders = FOLDERS | {self._inputs.workdir}
        lines = [line for one in copied for line in one.script(folders)]
        self._conversion.setup.append(ListItem("\n".join(dict.fromkeys(lines)), instruction.comment, "root", row))


def sources(folder: HabitatFolder, instruction: Instruction, words: Sequence[str]) -> list[str]:
    """Return the paths that an instruction copies, with wildcards resolved.

    Raises:
        NotConvertible: It fetches or unpacks something, or copies what doesn't exist.
    """
    paths: list[str] = []
    for word in words:
        if re.match(r"[a-z][a-z0-9+.-]*://|git@", word):
            raise NotConvertible("it fetches from the network")
        path = posixpath.normpath("/" + word).lstrip("/")
        matching = [path]
        if re.search(r"[*?\[]", path):
            depth = path.count("/")
            matching = [name for name in folder.docker if name.count("/") == depth and _matches(name, path)]
        if not matching or any(name not in folder.docker for name in matching):
            raise NotConvertible(f"there is no {word} in the habitat's folder")
        if instruction.name == "ADD" and any(_is_archive(folder.docker[name]) for name in matching):
            raise NotConvertible("ADD unpacks an archive")
        paths += matching
    return paths


def _matches(name: str, pattern: str) -> bool:
    """Match each part of a path by itself: a * never matches a slash."""
    return all(map(fnmatch.fnmatchcase, name.split("/"), pattern.split("/")))


def _is_archive(item: Item) -> bool:
    if item.kind != "file":
        return False
    with item.source.open("rb") as file:
        head = file.read(512)
    return head.startswith(_ARCHIVES) or head[257:262] == b"ustar"


def _owner(chown: str) -> str:
    if not _OWNER.fullmatch(chown):
        raise NotConvertible(f"--chown={chown} is not a user")
    return "root" if chown in ("0", "0:0", "root:root") else chown


def _mode(chmod: str) -> str:
    if chmod and not re.fullmatch(r"[0-7]{3,4}", chmod):
        raise NotConvertible(f"--chmod={chmod} is not octal")
    return chmod


@dataclass(frozen=True)
class _Plan:
    """Decides what is copied as a whole, and what file by file.

    Attributes:
        mode: An octal mode for all, "" for each file's own.
        is_same: Whether a folder can be copied as a whole.
    """

    folder: HabitatFolder
    owner: str
    mode: str
    is_same: Callable[[str], bool]

    def paths(self, sources: Sequence[str], dest: str) -> Iterator[CopiedPath]:
        """Yield what copies `sources` to `dest`, a folder if it ends in a slash."""
        for path in sources:
            item = self.folder.docker[path]
            if item.kind == "link":
                raise NotConvertible(f"docker build follows the link {path}")
            if item.kind == "file":
                yield self._file(item, posixpath.join(dest, posixpath.basename(path)) if dest.endswith("/") else dest)
            else:
                yield from self._folder(path, dest.rstrip("/") or "/")

    def _file(self, item: Item, dest: str) -> CopiedPath:
        return CopiedPath(item.path, dest, self.owner, self.mode or _own_mode(item), f"{item.mode:04o}", item.kind)

    def _folder(self, path: str, dest: str) -> Iterator[CopiedPath]:
        below: Mapping[str, Item] = self.folder.below(path)
        has_usual_modes = all(_own_mode(item) == f"{item.mode:04o}" for item in below.values())
        if (has_usual_modes or self.mode) and self.is_same(path):
            if self.mode not in ("", "755", "0755"):
                raise NotConvertible("its --chmod also changes folders, and a config's mode only files")
            yield CopiedPath(path or ".", dest, self.owner, self.mode, "", "dir")
            return
        for name, item in below.items():
            if "/" not in name:
                place = posixpath.join(dest, name)
                yield from self._folder(item.path, place) if item.kind == "dir" else [self._file(item, place)]


def _own_mode(item: Item) -> str:
    """Return a file's mode; a group's right to write comes from an umask and doesn't count."""
    bits = stat.S_IMODE(item.source.lstat().st_mode)
    if item.kind != "file" or bits in (0o644, 0o664, 0o755, 0o775):
        bits = item.mode
    return f"{bits:04o}"
