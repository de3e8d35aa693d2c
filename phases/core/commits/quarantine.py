"""A bare repository that gets the objects of a habitat first: what git or this module refuses goes no further.

It lies beside the state of the habitat for the time of one run, and reads the objects of the person's repository. What
a habitat sends is a pack alone, git's own form of objects: it has no name of a ref, no config, no hook and no path.
"""

from __future__ import annotations

import struct
from typing import IO, TYPE_CHECKING

from phases.core.commits.host_git import HostGit, TransferError, end, pack

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from phases.core.commits.host_repository import HostRepository
    from phases.core.commits.limits import TransferLimits

# The head of a pack: its sign, the version and the number of objects.
_HEAD = struct.Struct(">4sLL")

# Bytes that an object takes at least in a pack: one of type and size, and eight of zlib.
_LEAST = 9

# A checkout of a commit may be so much larger than the pack may be.
_CHECKOUT_FACTOR = 10


class Quarantine:
    """The repository.

    Args:
        folder: The folder that it gets, which doesn't exist.
        host: The repository that gets its objects, if they are sound.
        limits: What may come in.
    """

    def __init__(self, folder: Path, host: HostRepository, limits: TransferLimits) -> None:
        self._folder = folder
        self._host = host
        self._limits = limits
        git = HostGit(folder.parent, is_own=True, seconds=limits.seconds)
        git.read("init", "--quiet", "--bare", "--template=", f"--object-format={host.object_format}", "--", folder.name)
        self.git = HostGit(folder, is_own=True, seconds=limits.seconds)
        (folder / "objects/info").mkdir(exist_ok=True)
        (folder / "objects/info/alternates").write_bytes(b'"' + _escaped(bytes(host.objects)) + b'"\n')
        if host.shallow:
            (folder / "shallow").write_bytes(host.shallow)
        self._tips = host.tips()

    def take_in(self, pack: IO[bytes], tip: str) -> None:
        """Take the objects of a pack, and check that `tip` is a commit with all that belongs to it.

        Raises:
            TransferError: The pack is broken, too large, or lacks something; or git refuses an object.
        """
        self._check_head(pack)
        words = ("index-pack", "--stdin", "--fix-thin", "--strict", f"--max-input-size={self._limits.size}")
        try:
            self.git.feed(pack, *words, largest=2 * self._limits.size + (64 << 20))
        except TransferError as error:
            is_link = "did not receive expected object" in error.message
            raise self._incomplete(error) if is_link else _refused(error) from error
        self.check(tip)

    def check(self, tip: str) -> None:
        """Check that `tip` is a commit with all that belongs to it, and no bomb. Raises TransferError."""
        if self.git.read("cat-file", "--batch-check", stdin=f"{tip}\n".encode()).split()[1:2] != ["commit"]:
            raise TransferError("what the habitat sent has not the commit that it names")
        try:
            revisions = "".join((f"{tip}\n", *(f"^{known}\n" for known in self._tips))).encode()
            self.git.read("rev-list", "--objects", "--quiet", "--stdin", stdin=revisions)
        except TransferError as error:
            raise self._incomplete(error) from error
        self._check_checkout(tip)

    def is_ancestor(self, commit: str, of: str) -> bool:
        """Return whether a commit is in the history of another."""
        return self.git.succeeds("merge-base", "--is-ancestor", commit, of)

    def count(self, tip: str, without: Iterable[str] = ()) -> int:
        """Return how many commits are in the history of `tip`, and not in that of `without`."""
        revisions = "".join((f"{tip}\n", *(f"^{commit}\n" for commit in without)))
        return int(self.git.read("rev-list", "--count", "--stdin", stdin=revisions.encode()))

    def parents(self, commit: str) -> list[str]:
        """Return the parents of a commit."""
        return self.git.read("rev-list", "--parents", "--max-count=1", commit).split()[1:]

    def pack(self, path: Path, tips: Iterable[str], without: Iterable[str]) -> Path:
        """Write a pack of some commits for a repository that has those of `without`. Returns its path."""
        return pack(self.git, path, tips, without)

    def deliver(self, tip: str) -> None:
        """Give a commit to the person's repository, where no ref has it yet. Raises TransferError."""
        if self._host.known([tip]):
            return
        path = self.pack(self._folder / "delivered.pack", [tip], self._tips)
        with path.open("rb") as source:
            words = ("index-pack", "--stdin", "--fix-thin", "--strict")
            self._host.git.feed(source, *words, largest=4 * self._limits.size + (64 << 20))

    def _check_head(self, pack: IO[bytes]) -> None:
        """Check that a pack can have as many objects as it says: git makes room for them before it reads them."""
        head = pack.read(_HEAD.size)
        size = pack.seek(0, 2)
        pack.seek(0)
        if size > self._limits.size:
            raise TransferError("the habitat sent too much", remedy="--limit SIZE takes more")
        if len(head) < _HEAD.size:
            raise TransferError("the habitat sent no pack of git")
        sign, _, objects = _HEAD.unpack(head)
        if sign != b"PACK" or objects * _LEAST > size:
            raise TransferError("the habitat sent no pack of git")

    def _incomplete(self, error: TransferError) -> TransferError:
        if self._host.shallow:
            return TransferError(
                f"the commits need older ones, which {self._host.top} doesn't have: it is a shallow clone",
                remedy="run git fetch --unshallow there",
            )
        return TransferError(f"the habitat sent commits without all that belongs to them ({error.message})")

    def _check_checkout(self, tip: str) -> None:
        """Check how much a checkout of a commit would write: a tree can name the same tree or file many times."""
        process = self.git.start("ls-tree", "-r", "-t", "-l", "-z", "--full-tree", tip)
        assert process.stdout
        size = files = 0
        rest = b""
        try:
            while data := process.stdout.read(1 << 20):
                *rows, rest = (rest + data).split(b"\0")
                files += len(rows)
                size += sum(_size_of(row) for row in rows)
                if files > self._limits.files or size > self._limits.size * _CHECKOUT_FACTOR:
                    raise TransferError(
                        "a checkout of the habitat's commit would write too much",
                        remedy="--limit SIZE allows more bytes" if files <= self._limits.files else "",
                    )
            if process.wait():
                raise TransferError("git can't list the files of the habitat's commit")
        finally:
            end(process)


def _size_of(row: bytes) -> int:
    """Return the bytes of a file in a row of `ls-tree -l`, 0 for a submodule."""
    word = row.partition(b"\t")[0].split()[-1]
    return int(word) if word.isdigit() else 0


def _refused(error: TransferError) -> TransferError:
    return TransferError(f"git refuses what the habitat sent ({error.message})", remedy="see the commits inside")


def _escaped(path: bytes) -> bytes:
    return path.replace(b"\\", b"\\\\").replace(b'"', b'\\"').replace(b"\n", b"\\n")
