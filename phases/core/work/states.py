"""The state of a repository in a container, read from what `repositories.sh` prints."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from msgspec import Struct, structs

from phases.core.errors import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# The number of fields before the path in the lines of `git status --porcelain=v2`.
_FIELDS = {b"1": 8, b"u": 10, b"?": 1}

_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")


class RepositoryState(Struct, frozen=True):
    """The work in a repository that may be nowhere else. All texts are as the container has them: show them by `shown`.

    Attributes:
        path: Its folder, without links. Bytes that are no UTF-8 are escaped.
        user: Whom git runs as: the owner, a name or a number.
        problem: Why it can't be read, or not in full; "" if it was.
        is_missing: Whether `repos:` names it, and it isn't there.
        branch: The name of the branch, "" if HEAD is detached.
        head: The commit, "" if there is none.
        upstream: The branch that it follows, such as `origin/main`, "" for none.
        unpushed: The commits on branches, or at HEAD, that no remote-tracking branch has.
        stashes: The number of stashes.
        changed: The files that git tracks and that differ from HEAD.
        untracked: The files, and folders with a slash at the end, that git doesn't track and that no rule ignores.
        has_more: Whether more files differ than are listed.
        operation: What was begun: `merge`, `rebase`, `cherry-pick`, `revert` or `bisect`; "" for nothing.
        is_linked: Whether it is a worktree of another repository, which has its branches and stashes.
    """

    path: str
    user: str
    problem: str = ""
    is_missing: bool = False
    branch: str = ""
    head: str = ""
    upstream: str = ""
    unpushed: int = 0
    stashes: int = 0
    changed: tuple[str, ...] = ()
    untracked: tuple[str, ...] = ()
    has_more: bool = False
    operation: str = ""
    is_linked: bool = False

    @property
    def is_clean(self) -> bool:
        """Return whether the repository was read, and everything in it is elsewhere, too."""
        work = self.unpushed or self.stashes or self.changed or self.untracked or self.has_more or self.operation
        return not (work or self.problem)


class ForeignRepository(Struct, frozen=True):
    """A repository that belongs to another user. uid: its owner."""

    path: str
    uid: int


def shown(text: str) -> str:
    """Return a name from a container for a message: in quotes if it has signs that a reader could mistake."""
    safe = printable(text)
    return safe if re.fullmatch(r"[\w@%+=:,./~-]+", safe) else f'"{safe}"'


def text_of(data: bytes) -> str:
    """Decode a name from a container."""
    return data.decode(errors="backslashreplace")


def parse(output: bytes, user: str) -> Iterator[RepositoryState | ForeignRepository]:
    """Yield what the program has printed about repositories. user: who ran it.

    A repository about which it was still printing has a problem.
    """
    records: list[bytes] = []
    for record in output.split(b"\0"):
        if record == b"." and records:
            yield _state(records, user)
            records = []
        elif record.startswith(b"@") or records:
            records = [record] if record.startswith(b"@") else [*records, record]
    if records:
        yield _state([*records, b"!it takes too long to read"], user)


def _state(records: list[bytes], user: str) -> RepositoryState | ForeignRepository:
    path, *rest = records
    words = dict(_words(rest))
    problem = "; ".join(text_of(record[1:]) for record in rest if record.startswith(b"!"))
    if words.get("owner", "").isdigit() and "another user" in problem:
        return ForeignRepository(text_of(path[1:]), int(words["owner"]))
    has_more = "more" in words
    lines = [record for record in rest if record[:2] in (b"1 ", b"u ", b"? ")]
    files = [*_files(lines[:-1] if has_more else lines)]  # the last one of too many is cut
    state = RepositoryState(words.get("real") or text_of(path[1:]), user, problem)
    return structs.replace(
        state,
        is_missing="missing" in words,
        branch=words.get("branch", ""),
        head=head if _COMMIT.fullmatch(head := words.get("branch.oid", "")) else "",
        upstream=words.get("branch.upstream", ""),
        unpushed=_number(words.get("unpushed", "")),
        stashes=_number(words.get("stashes", "")),
        changed=tuple(name for kind, name in files if kind != b"?"),
        untracked=tuple(name for kind, name in files if kind == b"?"),
        has_more=has_more,
        operation=words.get("operation", ""),
        is_linked="linked" in words,
    )


def _words(records: Iterable[bytes]) -> Iterator[tuple[str, str]]:
    """Yield the words of a repository, and what `git status` says of its branch, with their values."""
    for record in records:
        if record.startswith((b"=", b"# ")):
            word, _, value = text_of(record.removeprefix(b"=").removeprefix(b"# ")).partition(" ")
            yield word, value


def _files(lines: Iterable[bytes]) -> Iterator[tuple[bytes, str]]:
    """Yield the kind and the path of each file."""
    for line in lines:
        kind = line[:1]
        parts = line.split(b" ", _FIELDS[kind])
        if len(parts) > _FIELDS[kind]:
            yield kind, text_of(parts[-1])


def _number(text: str) -> int:
    return int(text) if re.fullmatch(r"[0-9]{1,12}", text) else 0
