"""A repository "in a habitat" for tests: programs run in a folder of this machine with the real git, or lie."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import IO, TYPE_CHECKING

from phases.core.work import git as git_inside

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

GIT_SH = git_inside.FUNCTIONS.text


class LocalInside:
    """A repository in a folder of this machine.

    Args:
        folder: The repository.
        lie: Changes what a program prints, given the program's text.
    """

    def __init__(self, folder: Path, lie: Callable[[str, bytes], bytes] = lambda _, data: data) -> None:
        self.path = str(folder)
        self._lie = lie

    def run(
        self,
        program: str,
        args: Sequence[str],
        stdin: bytes | IO[bytes],
        on_output: Callable[[bytes, bool], None],
        seconds: float,
    ) -> int:
        command = ["/bin/sh", "-e", "-c", f"{GIT_SH}\n{program}", "sh", *args]
        env = {"PATH": os.environ["PATH"]}
        done = subprocess.run(
            command,
            input=stdin if isinstance(stdin, bytes) else stdin.read(),
            env=env,
            capture_output=True,
            check=False,
            timeout=seconds,
        )
        data = self._lie(program, done.stdout)
        for start in range(0, len(data), 1 << 16):
            on_output(data[start : start + (1 << 16)], False)
        on_output(done.stderr, True)
        return done.returncode


def contents(folder: Path) -> dict[str, str]:
    """Return a digest of each file, link and folder: of refs, index, work tree, config and hooks of a repository."""
    return {str(path.relative_to(folder)): _digest(path) for path in sorted(folder.rglob("*"))}


def _digest(path: Path) -> str:
    content = str(path.readlink()).encode() if path.is_symlink() else path.read_bytes() if path.is_file() else b""
    return f"{path.lstat().st_mode:o} {hashlib.sha256(content).hexdigest()}"


def git(folder: Path, *words: str, stdin: bytes = b"") -> str:
    """Run git in a folder. Returns what it prints."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    env |= {f"GIT_{role}_{key}": "a@example.org" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")}
    done = subprocess.run(
        ["git", "-C", str(folder), *words],
        input=stdin if isinstance(stdin, bytes) else stdin.read(),
        env=env,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode().strip()


def commit(folder: Path, name: str, text: str = "") -> str:
    """Commit a file. Returns the commit."""
    (folder / name).write_text(text or f"{name}\n")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "-m", name)
    return git(folder, "rev-parse", "HEAD")


def pair(folder: Path, *init: str) -> tuple[Path, Path]:
    """Return a repository of this machine with two commits, and a clone of it "in a habitat" with one more."""
    template = _template(*init)
    for name in ("host", "inside"):
        shutil.copytree(template / name, folder / name, symlinks=True)
    git(folder / "inside", "remote", "set-url", "origin", str(folder / "host"))
    return folder / "host", folder / "inside"


@cache
def _template(*init: str) -> Path:
    """Make the repositories of `pair` once, since copies of them take less time."""
    folder = Path(tempfile.mkdtemp())
    host, inside = folder / "host", folder / "inside"
    host.mkdir()
    git(host, "init", "--quiet", "-b", "main", *init)
    commit(host, "one")
    commit(host, "two")
    git(folder, "clone", "--quiet", str(host), str(inside))
    commit(inside, "three")
    return folder


def evil_object(folder: Path, kind: str, data: bytes) -> str:
    """Write an object that git itself would refuse. Returns its id."""
    return git(folder, "hash-object", "-t", kind, "-w", "--stdin", "--literally", stdin=data)


def evil_tree(folder: Path, *entries: tuple[str, bytes, str]) -> str:
    """Write a tree with these modes, names and ids."""
    rows = (mode.encode() + b" " + name + b"\0" + bytes.fromhex(oid) for mode, name, oid in entries)
    return evil_object(folder, "tree", b"".join(rows))


def commit_tree(folder: Path, tree: str) -> str:
    """Let the branch be at a commit of a tree. Returns the commit."""
    parent = git(folder, "rev-parse", "HEAD")
    data = f"tree {tree}\nparent {parent}\nauthor a <a@b> 1 +0000\ncommitter a <a@b> 1 +0000\n\nx\n"
    oid = evil_object(folder, "commit", data.encode())
    git(folder, "update-ref", "refs/heads/main", oid)
    return oid
