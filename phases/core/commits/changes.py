"""Reads the changes in the repositories of a habitat since they were cloned. Everything in it is a text from inside."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING

from msgspec import Struct

from phases.core.commits.destination import chosen
from phases.core.commits.host_git import TransferError
from phases.core.commits.inside import ContainerRepository, running_container
from phases.core.files.shell_program import ShellProgram
from phases.core.work import git
from phases.core.work.states import shown, text_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from phases.core.engine.types import Container
    from phases.core.project import Project
    from phases.core.work.states import RepositoryState

_CHANGES = ShellProgram(__file__, "changes.sh")

# Seconds for one repository. A patch is read by a person, who takes as long as that takes.
_SECONDS, _SECONDS_OF_PATCH = 60.0, 86_400.0

# Bytes of a summary.
_MOST_BYTES = 4 << 20


class CommitLine(Struct, frozen=True):
    """A commit. id: its whole id."""

    id: str
    author: str
    subject: str


class FileLine(Struct, frozen=True):
    """A file that differs. added, removed: lines, -1 in a binary file."""

    path: str
    added: int
    removed: int


class RepositoryChanges(Struct, frozen=True):
    """The changes in a repository since it was cloned.

    Attributes:
        state: The repository, with what is not committed.
        base: The commit from which on its commits are new, "" if all are.
        count: The number of new commits.
        commits: The newest of them.
        files: The files that differ from `base`, committed or not.
        untracked: The files that git doesn't track and that no rule ignores.
    """

    state: RepositoryState
    base: str
    count: int
    commits: tuple[CommitLine, ...]
    files: tuple[FileLine, ...]
    untracked: tuple[str, ...]


def read(project: Project, name: str, path: str = "") -> list[RepositoryChanges]:
    """Return the changes in the repositories of a habitat. path: only those in this one. Raises HabitatError."""
    habitat = project.habitat(name)
    with running_container(project, habitat) as container:
        states = chosen(project, habitat, container, path)
        return [_read_one(project, name, container, state) for state in states]


def _read_one(project: Project, name: str, container: Container, state: RepositoryState) -> RepositoryChanges:
    if state.problem:
        raise TransferError(f"{shown(state.path)} can't be read: {state.problem}", where=name)
    command = git.script_argv(_CHANGES.text, (state.path, "summary"))
    output = git.run(project.engine, container.id, command, state.user, seconds=_SECONDS, most_bytes=_MOST_BYTES)
    if output.code:
        line = next(iter(output.err.decode(errors="replace").splitlines()), f"exit code {output.code}")
        raise TransferError(f"{shown(state.path)} can't be read: {line}", where=name)
    return parse(state, output.out)


def parse(state: RepositoryState, output: bytes) -> RepositoryChanges:
    """Return what the program has printed about a repository."""
    records = [text_of(record) for record in output.split(b"\0") if record]
    words = dict(record[1:].partition(" ")[::2] for record in records if record.startswith("="))
    count = words.get("commits", "")
    return RepositoryChanges(
        state,
        base if re.fullmatch(r"[0-9a-f]{40,64}", base := words.get("base", "")) else "",
        int(count) if re.fullmatch(r"[0-9]{1,9}", count) else 0,
        tuple(_commits(records)),
        tuple(_files(records)),
        tuple(record[1:] for record in records if record.startswith("?")),
    )


def _commits(records: list[str]) -> Iterator[CommitLine]:
    for record in records:
        parts = record[1:].split("\t", 2)
        if record.startswith("c") and len(parts) == 3:
            yield CommitLine(*parts)


def _files(records: list[str]) -> Iterator[FileLine]:
    for record in records:
        match = re.fullmatch(r"d(\d{1,9}|-)\t(\d{1,9}|-)\t(.*)", record, re.DOTALL)
        if match:
            added, removed = (-1 if part == "-" else int(part) for part in match.groups()[:2])
            yield FileLine(match[3], added, removed)


def read_patch(project: Project, name: str, path: str, write: Callable[[str, list[str]], None]) -> None:
    """Pass on the changes as a patch, line by line.

    Args:
        project: The project.
        name: The name of the habitat.
        path: The path of one repository, "" for all.
        write: Gets the path of a repository, and lines of its patch. It may raise an exception to end this.

    Raises:
        HabitatError: A repository can't be read.
    """
    habitat = project.habitat(name)
    with running_container(project, habitat) as container:
        for state in chosen(project, habitat, container, path):
            inside = ContainerRepository(project.engine, container.id, state.user, state.path)
            lines = _Lines(lambda rows, state=state: write(state.path, rows))  # type: ignore[misc]
            code = inside.run(_CHANGES.text, (state.path, "patch"), io.BytesIO(), lines.feed, _SECONDS_OF_PATCH)
            lines.end()
            if code:
                raise TransferError(
                    f"{shown(state.path)} can't be read: {lines.error or f'exit code {code}'}", where=name
                )


class _Lines:
    """Splits output into lines. A line that is too long is cut into several."""

    def __init__(self, write: Callable[[list[str]], None]) -> None:
        self._write = write
        self._rest = b""
        self.error = ""

    def feed(self, data: bytes, is_err: bool) -> None:
        if is_err:
            self.error = self.error or text_of(data).partition("\n")[0]
            return
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > _LONGEST_LINE:
            lines, self._rest = [*lines, self._rest], b""
        if lines:
            self._write([text_of(line) for line in lines])

    def end(self) -> None:
        if self._rest:
            self._write([text_of(self._rest)])


_LONGEST_LINE = 1 << 20
