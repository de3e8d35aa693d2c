"""Convert COPY, and ADD of what is no archive, into `files:` or into a script of `setup:`."""

from __future__ import annotations

import fnmatch
import posixpath
import re
import shlex
from typing import TYPE_CHECKING

from phases.core.migrate.instructions import scripts
from phases.core.migrate.instructions.copied_path import FOLDERS, group_too, make_folder
from phases.core.migrate.instructions.copy_plan import FOLDER_MODE, CopyPlan
from phases.core.migrate.result import NotConvertible

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from phases.core.files.tree import Item
    from phases.core.migrate.dockerfile import Instruction
    from phases.core.migrate.dockerfile_state import BuildState
    from phases.core.migrate.habitat_folder import HabitatFolder
    from phases.core.migrate.inputs import Inputs
    from phases.core.migrate.instructions.copied_path import CopiedPath
    from phases.core.migrate.result import Conversion, ReportRow

_OWNER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,31})?")
_ARCHIVES = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0")


class CopyConverter:
    """Converts COPY and ADD instructions."""

    def __init__(self, inputs: Inputs, conversion: Conversion) -> None:
        self._inputs = inputs
        self._conversion = conversion
        # Folders that COPYs make, and the modes that they give folders.
        self._folders: set[str] = set()
        self._modes: dict[str, str] = {}
        self._mode_scripts = 0

    def convert(self, instruction: Instruction, state: BuildState) -> None:
        """Convert an instruction into `files:`, or into a script of `setup:` if an earlier instruction became one.

        Raises:
            NotConvertible: No config can copy the same files.
        """
        if others := instruction.flags.keys() - {"chown", "chmod", "link"}:
            raise NotConvertible(f"only docker build has --{min(others)}")
        if instruction.heredocs:
            self._write_documents(instruction, state)
            return
        *words, dest = (self._expand(instruction, word, state) for word in instruction.args)
        paths = sources(self._inputs.folder, instruction, words)
        place = self._dest(dest, len(words) > 1, state)
        may_go_into = self._may_be_folder(place, paths, instruction)
        is_early = bool(self._conversion.region)
        if is_early and may_go_into:
            raise NotConvertible(f"it comes before a phase, and a RUN may have made a folder {place}")
        has_scripts = not is_early and (len(self._conversion.scripts) > self._mode_scripts or may_go_into)
        folder = self._inputs.folder
        plan = CopyPlan(
            folder,
            owner=_owner(self._flag(instruction, "chown", "root", state)),
            mode=_mode(self._flag(instruction, "chmod", "", state)),
            is_same=folder.is_same_at_local_path if has_scripts else folder.is_same_in_files,
        )
        copied = list(plan.paths(paths, place, may_go_into=may_go_into))
        if any(re.search(r"[\x00-\x1f]|\{\}", one.source + one.dest) for one in copied):
            raise NotConvertible("a config can't name one of its files: the name has a control character or {}")
        is_whole = len(copied) == len(words)
        row = self._conversion.report(instruction, "", "" if is_whole else "each file by name, as the folder is now")
        self._folders |= {posixpath.dirname(one.dest) for one in copied} | {*plan.folders}
        self._folders |= {one.dest for one in copied if one.kind == "dir"}
        if has_scripts:
            self._add_script(instruction, copied, row, plan, is_whole=is_whole)
        else:
            self._add_files(instruction, copied, row, plan)

    def _write_documents(self, instruction: Instruction, state: BuildState) -> None:
        """Add a script that writes here-documents."""
        if len(instruction.heredocs) != len(instruction.args) - 1:
            raise NotConvertible("it copies a here-document and files")
        row = self._conversion.report(instruction, "setup")
        owner = _owner(self._flag(instruction, "chown", "root", state))
        mode = _mode(self._flag(instruction, "chmod", "", state))
        dest = self._dest(self._expand(instruction, instruction.args[-1], state), len(instruction.heredocs) > 1, state)
        lines = []
        for one in instruction.heredocs:
            path = f"{dest}{one.name}" if dest.endswith("/") else dest
            content = scripts.content(one)
            content = (
                self._inputs.interpreter.expand(instruction, content, state, quoted=True) if one.expand else content
            )
            place = shlex.quote(path)
            lines += make_folder(posixpath.dirname(path), owner, FOLDERS | {self._inputs.workdir})
            lines += [f"rm -f {place}", *scripts.here_document(f">{place}", content)]
            lines += [f"chmod {mode} {place}"] if mode else []
            lines += [] if owner == "root" else [f"chown {group_too(owner)} {place}"]
        self._conversion.add_script("\n".join(lines), instruction.comment, "root", row)

    def _expand(self, instruction: Instruction, word: str, state: BuildState) -> str:
        return self._inputs.interpreter.expand(instruction, word, state)

    def _flag(self, instruction: Instruction, name: str, default: str, state: BuildState) -> str:
        values = [self._expand(instruction, value, state) for value in instruction.flags.get(name, [])]
        return values[-1] if values else default

    def _dest(self, dest: str, has_many: bool, state: BuildState) -> str:
        """Return an absolute path, with a slash at the end if it is a folder."""
        path = state.absolute(dest)
        known = {*FOLDERS, *self._folders, *(one.workdir for one in self._inputs.states), self._inputs.end.workdir}
        is_folder = dest.endswith(("/", "/.")) or dest in (".", "..") or path in known
        is_folder = is_folder or has_many or self._inputs.base.is_folder(path)
        return f"{path.rstrip('/')}/" if is_folder else path

    def _may_be_folder(self, dest: str, paths: Sequence[str], instruction: Instruction) -> bool:
        """Return whether an earlier RUN may have made a folder at `dest`, into which a file would go.

        A folder has no name like a file's own, or with its suffix.
        """
        instructions = self._inputs.instructions
        has_run = any(one.name == "RUN" for one in instructions[: instructions.index(instruction)])
        has_parent = self._inputs.interpreter.parent(self._inputs.stage) is not None
        if dest.endswith("/") or len(paths) != 1 or not (has_run or has_parent):
            return False
        (_, suffix), (_, source_suffix) = map(posixpath.splitext, (dest, paths[0]))
        is_alike = posixpath.basename(dest) == posixpath.basename(paths[0]) or (suffix and suffix == source_suffix)
        return not is_alike and self._inputs.folder.docker[paths[0]].kind == "file"

    def _add_files(
        self, instruction: Instruction, copied: Sequence[CopiedPath], row: ReportRow, plan: CopyPlan
    ) -> None:
        files = self._conversion.files
        first, last = len(files), len(files) + len(copied) - 1
        row.place = f"files[{first}]" if len(copied) == 1 else f"files[{first}…{last}]"
        for number, one in enumerate(copied):
            self._conversion.add_file(one.item(), () if number else instruction.comment)
        if lines := [line for path, mode in plan.folders.items() for line in self._folder_mode(path, mode, plan.owner)]:
            row.why = "and a script sets the modes of its folders"
            self._conversion.add_script("\n".join(lines), (), "root")
            self._mode_scripts += not self._conversion.region

    def _folder_mode(self, path: str, mode: str, owner: str) -> Iterator[str]:
        """Yield what gives a folder its mode and owner: phase files makes it with 0755, and leaves an existing one."""
        info = self._inputs.base.info(path)
        exists = info is not None and info.kind == "dir"
        before = self._modes.get(path) or (f"{info.mode:04o}" if info and exists else FOLDER_MODE)
        self._modes[path] = mode
        if mode != before:
            yield f"chmod {mode} {shlex.quote(path)}"
        if info and exists and (owner != "root" or (info.uid, info.gid) != (0, 0)):
            yield f"chown {'0:0' if owner == 'root' else group_too(owner)} {shlex.quote(path)}"

    def _add_script(
        self,
        instruction: Instruction,
        copied: Sequence[CopiedPath],
        row: ReportRow,
        plan: CopyPlan,
        *,
        is_whole: bool,
    ) -> None:
        folder = self._inputs.folder
        for one in copied:
            source = "" if one.source == "." else one.source
            if not folder.is_same_at_local_path(source):
                missing = folder.missing_at_local_path(source)
                raise NotConvertible(f"it comes after a RUN, and $LOCAL_PATH leaves out {missing}")
        row.place = "setup"
        known = FOLDERS | {self._inputs.workdir}
        lines = [line for one in copied for line in one.script(known, has_folders=bool(plan.folders))]
        folders = plan.folders.items()
        lines += [f"chmod {mode} {shlex.quote(path)}" for path, mode in folders if mode != FOLDER_MODE or not is_whole]
        self._conversion.add_script("\n".join(dict.fromkeys(lines)), instruction.comment, "root", row)


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
