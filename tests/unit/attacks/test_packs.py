"""Objects and packs that attack the repository which gets them, or git itself."""

from __future__ import annotations

import hashlib
import struct
import time
import zlib
from typing import TYPE_CHECKING

import pytest
from hostile_inside import LocalInside, commit, commit_tree, contents, evil_object, evil_tree, git, pair

from phases.core.commits import outgoing
from phases.core.commits.fetch import fetch_branch
from phases.core.commits.limits import TransferLimits
from phases.core.errors import HabitatError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SIZE = 2 << 20


def refused(host: Path, inside: LocalInside, *, wip: bool = False, seconds: float = 30) -> str:
    """Fetch, which has to fail and to leave the host as it was. Returns the message."""
    before = contents(host)
    with pytest.raises(HabitatError) as error:
        fetch_branch("api", inside, host, host.parent / "state", TransferLimits(SIZE, seconds, 10_000), wip=wip)
    assert str(error.value).isprintable()
    assert contents(host) == before
    assert list((host.parent / "state").glob("*")) == []
    return str(error.value)


@pytest.fixture
def repositories(tmp_path: Path) -> tuple[Path, Path]:
    return pair(tmp_path)


def blob(folder: Path, text: str) -> str:
    return git(folder, "hash-object", "-w", "--stdin", stdin=text.encode())


# Objects

NAMES_IN_TREES = [b".git", b".GIT", b"git~1", b".git\xe2\x80\x8c", b"..", b".", b"a/b", b"", b".git\\config"]


@pytest.mark.guarantee("incoming-objects")
@pytest.mark.parametrize("name", NAMES_IN_TREES)
def test_file_with_hostile_name_is_refused(repositories: tuple[Path, Path], name: bytes) -> None:
    host, inside = repositories
    commit_tree(inside, evil_tree(inside, ("100644", name, blob(inside, "x"))))
    assert ("git refuses" if name else "empty filename") in refused(host, LocalInside(inside))


@pytest.mark.parametrize("name", [b".git", b".Git", b"GIT~1"])
def test_folder_or_submodule_in_place_of_git_is_refused(repositories: tuple[Path, Path], name: bytes) -> None:
    host, inside = repositories
    hook = evil_tree(inside, ("100755", b"post-checkout", blob(inside, "#!/bin/sh\ntouch /tmp/ran\n")))
    commit_tree(inside, evil_tree(inside, ("40000", name, evil_tree(inside, ("40000", b"hooks", hook)))))
    refused(host, LocalInside(inside))
    commit_tree(inside, evil_tree(inside, ("160000", name, git(inside, "rev-parse", "HEAD"))))
    refused(host, LocalInside(inside))


MODULES = [
    '[submodule "a"]\n\tpath = a\n\turl = -u./run\n',
    '[submodule "a"]\n\tpath = -a\n\turl = https://example.org/a\n',
    '[submodule "../../a"]\n\tpath = a\n\turl = https://example.org/a\n',
    '[submodule "a"]\n\tpath = a\n\turl = https://example.org/a\n\tupdate = !touch /tmp/ran\n',
    '[submodule "a"]\n\tpath = a\n\turl = "https://example.org/\\n/a"\n',
    '[submodule "a"]\n\tpath = a\n\turl = ./%0ahost=evil/a\n',
]


@pytest.mark.parametrize("text", MODULES)
def test_hostile_submodule_is_refused(repositories: tuple[Path, Path], text: str) -> None:
    host, inside = repositories
    commit_tree(inside, evil_tree(inside, ("100644", b".gitmodules", blob(inside, text))))
    assert "gitmodules" in refused(host, LocalInside(inside))


@pytest.mark.parametrize("name", [b".gitmodules", b".GITMODULES"])
def test_gitmodules_that_is_a_link_is_refused(repositories: tuple[Path, Path], name: bytes) -> None:
    host, inside = repositories
    commit_tree(inside, evil_tree(inside, ("120000", name, blob(inside, "../../etc/passwd"))))
    refused(host, LocalInside(inside))


def test_name_twice_as_link_and_as_folder_is_refused(repositories: tuple[Path, Path]) -> None:
    host, inside = repositories
    link = ("120000", b"a", blob(inside, "/etc"))
    folder = ("40000", b"a", evil_tree(inside, ("100644", b"passwd", blob(inside, "x"))))
    commit_tree(inside, evil_tree(inside, link, folder))
    refused(host, LocalInside(inside))


COMMITS = [
    "tree {tree}\nparent {parent}\nauthor a <a@b> 1 +0000\n\nno committer\n",
    "tree {tree}\nparent {parent}\nauthor a <a@b 1 +0000\ncommitter a <a@b> 1 +0000\n\nx\n",
    "tree {tree}\nparent {parent}\nauthor a <a@b> 99999999999999999999999 +0000\ncommitter a <a@b> 1 +0000\n\nx\n",
    "tree {tree}\nparent {parent}\nauthor a <a@b> 1 +0000\0evil\ncommitter a <a@b> 1 +0000\n\nx\n",
    "tree {zero}\nparent {parent}\nauthor a <a@b> 1 +0000\ncommitter a <a@b> 1 +0000\n\nx\n",
    "tree {tree}\nparent {zero}\nauthor a <a@b> 1 +0000\ncommitter a <a@b> 1 +0000\n\nx\n",
]


@pytest.mark.parametrize("text", COMMITS)
def test_broken_commit_is_refused(repositories: tuple[Path, Path], text: str) -> None:
    host, inside = repositories
    names = {name: git(inside, "rev-parse", rev) for name, rev in (("tree", "HEAD^{tree}"), ("parent", "HEAD"))}
    evil = evil_object(inside, "commit", text.format(**names, zero="1" * 40).encode())
    (inside / ".git/refs/heads/main").write_text(f"{evil}\n")
    refused(host, LocalInside(inside, without_walk(inside, evil)))


def without_walk(inside: Path, tip: str, *more: str) -> Callable[[str, bytes], bytes]:
    """Return a lie: objects that git inside would not walk over, as a pack of just these and their trees."""
    pack = pack_of(inside, tip, *more)

    def lie(program: str, data: bytes) -> bytes:
        if program == outgoing._PACK.text:
            return f"{tip}\n".encode() + pack
        return f"branch main\0tip {tip}\0format sha1\0".encode() if program == outgoing._COMMITS.text else data

    return lie


def pack_of(folder: Path, *oids: str) -> bytes:
    """Return a pack of exactly some objects."""
    entries = []
    for oid in oids:
        kind = git(folder, "cat-file", "-t", oid)
        raw = zlib.decompress((folder / ".git/objects" / oid[:2] / oid[2:]).read_bytes()).partition(b"\0")[2]
        entries.append(entry({"commit": 1, "tree": 2, "blob": 3, "tag": 4}[kind], len(raw), raw))
    return packed(*entries)


def entry(kind: int, size: int, data: bytes, base: bytes = b"") -> bytes:
    """Return an object of a pack, which says that it has `size` bytes."""
    head = [(kind << 4) | (size & 15)]
    size >>= 4
    while size:
        head[-1] |= 128
        head.append(size & 127)
        size >>= 7
    return bytes(head) + base + zlib.compress(data)


def packed(*entries: bytes, count: int | None = None) -> bytes:
    body = struct.pack(">4sLL", b"PACK", 2, len(entries) if count is None else count) + b"".join(entries)
    return body + hashlib.sha1(body, usedforsecurity=False).digest()


# Packs

BROKEN = {
    "nothing": b"",
    "text": b"hello\n" * 10,
    "no objects": packed(),
    "head alone": packed()[:12],
    "four billion objects": packed(count=0xFFFFFFFF),
    "more objects than there are": packed(count=3),
    "broken checksum": packed()[:-1] + b"x",
    "version 9": b"PACK" + struct.pack(">LL", 9, 0) + b"x" * 20,
    "huge commit": packed(entry(1, 1 << 40, b"x")),
    "huge file": packed(entry(3, 1 << 40, b"x")),
    "delta without base": packed(entry(7, 4, b"\1\1\1x", b"\1" * 20)),
    "offset before the pack": packed(entry(6, 4, b"\1\1\1x", b"\x81\x7f")),
    "no zlib": packed(b"\x35" + b"\xff" * 40),
    "unknown kind": packed(entry(5, 1, b"x")),
}


@pytest.mark.guarantee("incoming-objects")
@pytest.mark.parametrize("pack", BROKEN.values(), ids=BROKEN.keys())
def test_broken_pack_is_refused(repositories: tuple[Path, Path], pack: bytes) -> None:
    host, inside = repositories
    tip = git(inside, "rev-parse", "HEAD")

    def lie(program: str, data: bytes) -> bytes:
        return f"{tip}\n".encode() + pack if program == outgoing._PACK.text else data

    started = time.monotonic()
    refused(host, LocalInside(inside, lie))
    assert time.monotonic() - started < 20


def test_delta_that_unpacks_to_gigabytes_is_refused(repositories: tuple[Path, Path]) -> None:
    """A delta copies a part of its base again and again: 4 GB of a commit, from some 30 KB."""
    host, inside = repositories
    base = b"x" * 0xFFFF
    size = 0xFFFF * 70_000
    digits, rest = [], size
    while rest:
        digits.append((rest & 127) | (128 if rest >> 7 else 0))
        rest >>= 7
    delta = b"\xff\xff\x03" + bytes(digits) + b"\xb0\xff\xff" * 70_000
    name = hashlib.sha1(b"commit 65535\0" + base, usedforsecurity=False).digest()
    pack = packed(entry(1, len(base), base), entry(7, len(delta), delta, name))
    tip = git(inside, "rev-parse", "HEAD")
    refused(host, LocalInside(inside, lambda p, d: f"{tip}\n".encode() + pack if p == outgoing._PACK.text else d))


def test_pack_that_has_no_end_or_is_too_large_is_cut_off(repositories: tuple[Path, Path]) -> None:
    host, inside = repositories
    git(inside, "config", "core.compression", "0")
    commit(inside, "large", "x" * (SIZE + 1))
    assert "--limit" in refused(host, LocalInside(inside))


def test_list_of_commits_that_has_no_end_is_cut_off(repositories: tuple[Path, Path]) -> None:
    host, inside = repositories

    def lie(program: str, data: bytes) -> bytes:
        return data + b"1" * (9 << 20) if program == outgoing._COMMITS.text else data

    assert "prints too much" in refused(host, LocalInside(inside, lie))


def test_file_that_a_checkout_would_unpack_to_gigabytes_is_refused(repositories: tuple[Path, Path]) -> None:
    host, inside = repositories
    commit(inside, "bomb", "\0" * (SIZE * 10 + 1))
    assert "write too much" in refused(host, LocalInside(inside))


def test_trees_that_name_each_other_again_and_again_are_refused(repositories: tuple[Path, Path]) -> None:
    host, inside = repositories
    tree = evil_tree(inside, *(("100644", b"%03d" % n, blob(inside, "x")) for n in range(100)))
    for _ in range(9):
        tree = evil_tree(inside, *(("40000", b"%02d" % n, tree) for n in range(10)))
    commit_tree(inside, tree)
    assert "write too much" in refused(host, LocalInside(inside))
    tree = evil_tree(inside)
    for _ in range(12):
        tree = evil_tree(inside, *(("40000", b"%02d" % n, tree) for n in range(10)))
    commit_tree(inside, tree)
    assert "write too much" in refused(host, LocalInside(inside))


def test_pack_without_a_file_or_a_parent_is_refused(repositories: tuple[Path, Path]) -> None:
    host, inside = repositories
    tree = evil_tree(inside, ("100644", b"a", "1" * 40))
    tip = commit_tree(inside, tree)
    parent = git(inside, "rev-parse", f"{tip}~1")
    refused(host, LocalInside(inside, without_walk(inside, tip, tree)))
    git(inside, "reset", "--hard", "--quiet", parent)
    tip, tree = commit(inside, "four"), git(inside, "rev-parse", "HEAD^{tree}")
    refused(host, LocalInside(inside, without_walk(inside, tip, tree)))


@pytest.mark.parametrize("kind", ["blob", "tree", "tag"])
def test_object_that_is_no_commit_is_no_branch(repositories: tuple[Path, Path], kind: str) -> None:
    host, inside = repositories
    git(inside, "tag", "-m", "x", "v1")
    oid = git(inside, "rev-parse", {"blob": "HEAD:three", "tree": "HEAD^{tree}", "tag": "v1"}[kind])
    (inside / ".git/refs/heads/main").write_text(f"{oid}\n")
    known = git(host, "rev-parse", {"blob": "HEAD:two", "tree": "HEAD^{tree}", "tag": "HEAD:one"}[kind])
    for one, folder in ((oid, inside), (known, host)):
        refused(host, LocalInside(inside, without_walk(folder, one)))


def test_another_commit_than_the_first_answer_named_is_refused(repositories: tuple[Path, Path]) -> None:
    host, inside = repositories
    tip = git(inside, "rev-parse", "HEAD").encode()
    other = commit(inside, "four").encode()

    def lie(program: str, data: bytes) -> bytes:
        return data.replace(other, tip) if program == outgoing._COMMITS.text else data

    git(inside, "config", "x.y", "z")
    assert "another commit" in refused(
        host, LocalInside(inside, lambda p, d: d.replace(tip, other) if p == outgoing._PACK.text else lie(p, d))
    )


@pytest.mark.parametrize("tip", ["HEAD", "--all", "-x", "main", "0" * 39, "g" * 40, "0" * 40 + "\n--x", "^" + "1" * 40])
def test_tip_that_is_no_object_id_is_refused(repositories: tuple[Path, Path], tip: str) -> None:
    host, inside = repositories
    lie = lambda _, data: data.replace(git(inside, "rev-parse", "HEAD").encode(), tip.encode())  # noqa: E731
    refused(host, LocalInside(inside, lie))


def test_uncommitted_work_that_is_not_on_top_is_refused(repositories: tuple[Path, Path]) -> None:
    host, inside = repositories
    (inside / "new").write_text("x")
    other = git(inside, "rev-parse", "HEAD~1")

    def run_as_other(program: str, data: bytes) -> bytes:
        return data.replace(git(inside, "rev-parse", "HEAD").encode(), other.encode()) if "parents" in program else data

    commit(inside, "four")
    lie = without_walk(inside, git(inside, "rev-parse", "HEAD"), git(inside, "rev-parse", "HEAD^{tree}"))
    refused(
        host, LocalInside(inside, lambda p, d: lie(p, d) if p == outgoing._PACK.text else run_as_other(p, d)), wip=True
    )
