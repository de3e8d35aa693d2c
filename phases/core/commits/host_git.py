"""git on this machine, held to commands that run no program and reach no network.

Only plumbing runs here, on repositories of this machine and on the quarantine. It gets packs and object ids from a
habitat, never a name: no hook, filter, driver, pager or remote of any config takes part.
"""

from __future__ import annotations

import os
import subprocess
from contextlib import suppress
from typing import IO, TYPE_CHECKING

from phases.core.errors import HabitatError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

# The windows through which git reads packs, so that its memory can be limited whatever their size.
_OPTIONS = (
    "core.fsmonitor=false",
    "core.hooksPath=/dev/null",
    "core.attributesFile=/dev/null",
    "core.logAllRefUpdates=always",
    "core.packedGitWindowSize=32m",
    "core.packedGitLimit=512m",
    "core.bigFileThreshold=64m",
    "pack.threads=1",
    "gc.auto=0",
    "maintenance.auto=false",
)

_ENV = {
    "LC_ALL": "C",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ALLOW_PROTOCOL": "",  # none
}

# Without the person's config, for a repository of the program.
_OWN_ENV = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null"}

# Kilobytes of memory that git may have: a small pack can claim objects of any size. macOS has no such limit.
_MEMORY = 4 << 20

# Starts a command with limits of its memory and of the blocks in a file that it writes.
_LIMITED = 'ulimit -v "$1" 2>/dev/null || :; ulimit -f "$2"; shift 2; exec "$@"'
_BLOCK = 512

# Characters of git's message in an error.
_SHOWN = 300


class TransferError(HabitatError):
    """Commits can't be brought out of a habitat, or into it."""


class HostGit:
    """git in one repository.

    Args:
        folder: The repository.
        is_own: Whether the program made it, so that the person's config is not read.
        seconds: How long one command may take.
    """

    def __init__(self, folder: Path, *, is_own: bool = False, seconds: float = 600) -> None:
        self._folder = folder
        self._env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        self._env |= _ENV | (_OWN_ENV if is_own else {})
        self._seconds = seconds

    def read(self, *words: str, stdin: bytes = b"") -> str:
        """Return what a command prints, without white space at its end. Raises TransferError."""
        return self.read_bytes(*words, stdin=stdin).decode(errors="surrogateescape").rstrip()

    def succeeds(self, *words: str, stdin: bytes = b"") -> bool:
        """Return whether a command ends with 0, and not with 1. Raises TransferError for any other exit code."""
        done = self._run(words, stdin)
        if done.returncode not in (0, 1):
            raise self._error(words, done)
        return done.returncode == 0

    def save(self, path: Path, *words: str, stdin: bytes) -> None:
        """Write what a command prints into a new file. Raises TransferError."""
        with path.open("xb") as file:
            done = self._run(words, stdin, stdout=file)
        if done.returncode:
            raise self._error(words, done)

    def is_repository(self) -> bool:
        """Return whether git accepts the folder as a repository."""
        return self._folder.is_dir() and not self._run(("rev-parse", "--git-dir"), b"").returncode

    def config(self, pattern: str) -> list[str]:
        """Return the values of the keys of its config that match a pattern."""
        done = self._run(("config", "--null", "--get-regexp", pattern), b"")
        rows = done.stdout.decode(errors="surrogateescape").split("\0")
        return [row.partition("\n")[2] for row in rows if row]

    def feed(self, source: IO[bytes], *words: str, largest: int) -> None:
        """Run a command that reads a file, with limits of memory and of what it writes. Raises TransferError.

        Args:
            source: The file.
            words: The command.
            largest: The bytes that a file may have which it writes.
        """
        limits = ("/bin/sh", "-c", _LIMITED, "sh", str(_MEMORY), str(largest // _BLOCK))
        done = self._run(words, source, limits)
        if done.returncode:
            raise self._error(words, done)

    def read_bytes(self, *words: str, stdin: bytes = b"") -> bytes:
        """Return what a command prints. Raises TransferError."""
        done = self._run(words, stdin)
        if done.returncode:
            raise self._error(words, done)
        return done.stdout

    def _run(
        self,
        words: tuple[str, ...],
        stdin: bytes | IO[bytes],
        prefix: tuple[str, ...] = (),
        stdout: int | IO[bytes] = subprocess.PIPE,
    ) -> subprocess.CompletedProcess[bytes]:
        source = subprocess.PIPE if isinstance(stdin, bytes) else stdin
        process = self.start(*words, stdin=source, prefix=prefix, stdout=stdout)
        try:
            out, err = process.communicate(stdin if isinstance(stdin, bytes) else None, timeout=self._seconds)
        except subprocess.TimeoutExpired as error:
            raise TransferError(
                f"git {words[0]} took longer than {self._seconds:g}s in {self._folder}",
                remedy="--timeout gives it more",
            ) from error
        finally:
            end(process)
        return subprocess.CompletedProcess(words, process.returncode, out, err)

    def start(
        self,
        *words: str,
        stdin: int | IO[bytes] = subprocess.DEVNULL,
        prefix: tuple[str, ...] = (),
        stdout: int | IO[bytes] = subprocess.PIPE,
    ) -> subprocess.Popen[bytes]:
        """Start a command, whose output the caller reads, and which `end` ends. Raises TransferError."""
        options = [word for option in _OPTIONS for word in ("-c", option)]
        command = [*prefix, "git", "--no-pager", *options, "-C", str(self._folder), *words]
        try:
            return subprocess.Popen(
                command, env=self._env, stdin=stdin, stdout=stdout, stderr=subprocess.PIPE, process_group=0
            )
        except FileNotFoundError as error:
            raise TransferError("there is no git on this machine", remedy="install git") from error

    def _error(self, words: tuple[str, ...], done: subprocess.CompletedProcess[bytes]) -> TransferError:
        lines = [line for line in done.stderr.decode(errors="replace").splitlines() if line.strip()]
        first = next((line for line in lines if line.startswith(("fatal:", "error:"))), next(iter(lines), ""))
        reason = first[:_SHOWN] or f"exit code {done.returncode}"
        return TransferError(f"git {words[0]} failed in {self._folder}: {reason}")


def end(process: subprocess.Popen[bytes]) -> None:
    """End a command of `HostGit.start` that may still run, with those that it started."""
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, 9)
    process.wait()
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream:
            with suppress(OSError):
                stream.close()


def pack(git: HostGit, path: Path, tips: Iterable[str], without: Iterable[str]) -> Path:
    """Write a pack of some commits for a repository that has those of `without`. Returns its path."""
    revisions = "".join((*(f"{tip}\n" for tip in tips), *(f"^{commit}\n" for commit in without)))
    words = ("--quiet", "--revs", "--stdout", "--thin", "--delta-base-offset")
    git.save(path, "pack-objects", *words, stdin=revisions.encode())
    return path
