"""Gets commits out of a repository in a habitat: git runs inside, and what it prints is data that may be a lie."""

from __future__ import annotations

import re
import time
from typing import IO, TYPE_CHECKING, Protocol

from msgspec import Struct

from phases.core.commits.host_git import TransferError
from phases.core.errors import printable
from phases.core.files.shell_program import ShellProgram

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from phases.core.commits.host_repository import HostRepository
    from phases.core.commits.limits import TransferLimits
    from phases.core.commits.quarantine import Quarantine

_COMMITS = ShellProgram(__file__, "commits.sh")
_PACK = ShellProgram(__file__, "pack.sh")

_OID = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")

# Commits that are listed to find those that this machine has, and the bytes that the list may have.
_MOST_COMMITS, _MOST_LISTED = 20_000, 8 << 20

# Bytes of error messages that are read.
_MOST_ERRORS = 4096


class Inside(Protocol):
    """A repository in a habitat, and its user, as whom programs run there."""

    @property
    def path(self) -> str:
        """The path of the repository."""

    def run(
        self,
        program: str,
        args: Sequence[str],
        stdin: bytes | IO[bytes],
        on_output: Callable[[bytes, bool], None],
        seconds: float,
    ) -> int:
        """Run a shell program, which follows the functions of git.sh.

        Args:
            program: The program.
            args: Its arguments.
            stdin: Its whole input.
            on_output: Gets chunks of what it prints, and whether each is of stderr. It may raise TransferError.
            seconds: How long it may take.

        Returns:
            Its exit code.

        Raises:
            HabitatError: It was stopped since it took longer, or it could not be run.
        """


class Head(Struct, frozen=True):
    """The commits that a repository offers.

    Attributes:
        branch: The branch that is checked out, "" for none. Its name is the agent's.
        tip: The commit that is checked out, "" for none.
        boundary: Commits of its history that this machine has, from which on the others are new; the tip itself if
            this machine has it.
    """

    branch: str
    tip: str
    boundary: tuple[str, ...]


def head(inside: Inside, host: HostRepository, limits: TransferLimits) -> Head:
    """Return what a repository in a habitat has that a repository of this machine may lack. Raises TransferError."""
    printed = Printed(_MOST_LISTED)
    code = inside.run(_COMMITS.text, (inside.path, str(_MOST_COMMITS)), b"", printed.feed, limits.seconds)
    printed.check(inside.path, code)
    *records, rows = bytes(printed.data).decode(errors="surrogateescape").split("\0")
    values = dict(record.partition(" ")[::2] for record in records)
    tip, object_format = values.get("tip", ""), values.get("format") or "sha1"
    if tip and object_format != host.object_format:
        raise TransferError(
            f"{inside.path} names objects by {printable(object_format[:20])}, {host.top} by {host.object_format}",
            remedy="--into PATH names a repository that does the same",
        )
    if tip and not is_oid(tip, host):
        raise TransferError(f"git in the habitat gives no commit for HEAD of {inside.path}")
    boundary = {tip} if tip and host.known([tip]) else _boundary(rows.split("\n"), host)
    return Head(values.get("branch", ""), tip, tuple(sorted(boundary)))


def _boundary(rows: Iterable[str], host: HostRepository) -> set[str]:
    """Return the commits that the host has, each of which is a parent of one that it hasn't."""
    parents = {words[0]: words[1:] for row in rows if (words := [word for word in row.split() if is_oid(word, host)])}
    known = host.known({*parents, *(parent for row in parents.values() for parent in row)})
    return {parent for commit, row in parents.items() if commit not in known for parent in row} & known


def is_oid(word: str, host: HostRepository) -> bool:
    """Return whether a word is the id of an object in the form of a repository of this machine."""
    return bool(_OID.fullmatch(word)) and len(word) == (40 if host.object_format == "sha1" else 64)


def receive(
    inside: Inside,
    host: HostRepository,
    quarantine: Quarantine,
    folder: Path,
    limits: TransferLimits,
    given: Head,
    wip: str = "",
) -> str:
    """Get commits into the quarantine.

    Args:
        inside: The repository in the habitat.
        host: The repository of this machine.
        quarantine: The quarantine, which reads objects of `host`.
        folder: A folder for the pack.
        limits: What may come in.
        given: What there is to get.
        wip: The message of a commit of what is not committed, "" for no such commit.

    Returns:
        The commit that the branch is to be at: `given.tip`, or one of uncommitted work on top of it.

    Raises:
        TransferError: It is refused.
    """
    if not wip and given.tip in given.boundary:
        quarantine.check(given.tip)
        return given.tip
    path = folder / "incoming.pack"
    with path.open("xb") as file:
        pack = PackFile(file, limits)
        stdin = "".join(f"^{commit}\n" for commit in given.boundary).encode()
        code = inside.run(_PACK.text, (inside.path, given.tip, wip), stdin, pack.feed, limits.seconds)
        pack.errors.check(inside.path, code)
    tip = pack.first_line.decode("ascii", "replace").strip()
    if not is_oid(tip, host) or (not wip and tip != given.tip):
        raise TransferError(f"git in the habitat sent another commit than that of {inside.path}")
    with path.open("rb") as source:
        quarantine.take_in(source, tip)
    path.unlink()
    if wip and tip != given.tip and given.tip and quarantine.parents(tip) != [given.tip]:
        raise TransferError("the commit of uncommitted work is not on top of the others")
    return tip


class Printed:
    """The output of a program in a habitat, up to a limit."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.data = bytearray()
        self._errors = bytearray()

    def feed(self, data: bytes, is_err: bool) -> None:
        if is_err:
            self._errors += data[: _MOST_ERRORS - len(self._errors)]
            return
        self.data += data
        if len(self.data) > self._most:
            raise TransferError("git in the habitat prints too much")

    def check(self, path: str, code: int) -> None:
        """Raise TransferError if the program failed."""
        if code == 0:
            return
        lines = [line for line in self._errors.decode(errors="replace").splitlines() if line.strip()]
        first = next((line for line in lines if line.startswith(("fatal:", "error:"))), next(iter(lines), ""))
        raise TransferError(f"git in the habitat can't give the commits of {path}: {first or f'exit code {code}'}")


class PackFile:
    """A file that gets the pack of a habitat. The line before it is kept."""

    def __init__(self, file: IO[bytes], limits: TransferLimits) -> None:
        self._file = file
        self._left = limits.size
        self._until = time.monotonic() + limits.seconds
        self.first_line = b""
        self._is_pack = False
        self.errors = Printed(0)

    def feed(self, data: bytes, is_err: bool) -> None:
        if is_err:
            self.errors.feed(data, is_err)
            return
        if not self._is_pack:
            line, end, data = (self.first_line + data).partition(b"\n")
            self.first_line, self._is_pack = line[:100], bool(end)
            if len(line) > len(self.first_line):
                raise TransferError("the habitat sent no pack of git")
        self._left -= len(data)
        if self._left < 0:
            raise TransferError("the habitat sent too much", remedy="--limit SIZE takes more")
        if time.monotonic() > self._until:
            raise TransferError("the habitat sends too slowly", remedy="--timeout gives it more")
        self._file.write(data)
