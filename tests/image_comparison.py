"""What differs between two images of the engine: accounts, config, and every path of the filesystem.

    assert differences("habitat-hello:final", "ejected-hello") == []

Each difference is a line for a person, `/srv/app/x: mode 0755 ≠ 0644`, with what the first image has on
the left. Times of files are no difference: no two builds have the same.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
import tarfile
from dataclasses import dataclass, fields
from fnmatch import translate
from typing import IO, TYPE_CHECKING

from conftest import docker, inspect

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

#: Paths whose content no two builds of one plan have in common, as patterns in which * is any signs.
#: That they are there, and whose, is compared all the same.
DATED = (
    "/etc/*-",  # copies of passwd, group and their like, made before each change: as many as there were changes
    "/etc/machine-id",  # a random number
    "*/.git/index",  # the times and inode numbers of the files
    "*/.git/logs/*",  # the time of the clone
    "*/__pycache__/*.pyc",  # the time of the source
    "/var/cache/apt/*",  # tables of what was where at the time
    "/var/cache/debconf/*-old",  # the copy before the last change
    "/var/cache/ldconfig/aux-cache",  # inode numbers
    "/var/lib/apt/lists/*",  # as the mirror was when asked
    "/var/log/*",  # dates
)

#: Which of these there are depends on the time as well.
FLEETING = (
    "/var/cache/apt/*",
    "/var/lib/apt/lists/*",
    "/etc/*-",
)

#: What an engine puts over the image's own as soon as a container runs, and an export has empty.
_ENGINES = ("/.dockerenv", "/etc/hostname", "/etc/hosts", "/etc/resolv.conf", "/dev/*")

_ACCOUNTS = ("/etc/passwd", "/etc/group", "/etc/shadow")


@dataclass(frozen=True)
class Node:
    """A path of an image. device: its numbers; xattrs: capabilities and such; digest: of a file's content."""

    kind: str
    mode: str
    uid: int
    gid: int
    target: str = ""
    device: str = ""
    xattrs: str = ""
    digest: str = ""


@dataclass(frozen=True)
class Contents:
    """nodes: by path; accounts: the text of the files that hold them."""

    nodes: Mapping[str, Node]
    accounts: Mapping[str, str]


def differences(
    left: str, right: str, *, ignoring: Iterable[str] = (), labels: bool = False, ports: bool = False
) -> list[str]:
    """What differs between two images, each a line. ignoring: patterns of paths, in which * is any signs,
    that are not looked at; labels, ports: whether these are.
    """
    keys = (
        "User",
        "WorkingDir",
        "Entrypoint",
        "Cmd",
        "StopSignal",
        "Volumes",
        *(["Labels"] * labels),
        *(["ExposedPorts"] * ports),
    )
    mine, theirs = (inspect(image)["Config"] for image in (left, right))
    differing = list(_unequal("env", _env(mine), _env(theirs)))
    for key in keys:
        # An engine tells of nothing in three ways.
        one, other = mine.get(key) or None, theirs.get(key) or None
        if one != other:
            differing.append(f"{key}: {one} ≠ {other}")
    before, after = contents(left), contents(right)
    differing += _accounts(before.accounts, after.accounts)
    return differing + _paths(before.nodes, after.nodes, _pattern((*ignoring, *_ENGINES)))


def _env(config: Mapping[str, object]) -> dict[str, str]:
    rows = config.get("Env") or []
    assert isinstance(rows, list)
    return dict(row.partition("=")[::2] for row in rows)


def _unequal(what: str, one: Mapping[str, str], other: Mapping[str, str]) -> Iterator[str]:
    for name in sorted(one.keys() | other.keys()):
        if one.get(name) != other.get(name):
            yield f"{what} {name}: {_shown(one.get(name))} ≠ {_shown(other.get(name))}"


def _shown(value: str | None) -> str:
    return "none" if value is None else repr(value)


def _accounts(one: Mapping[str, str], other: Mapping[str, str]) -> Iterator[str]:
    for path, what in zip(_ACCOUNTS, ("user", "group", "password"), strict=True):
        yield from _unequal(what, _rows(one.get(path, ""), path), _rows(other.get(path, ""), path))


def _rows(text: str, path: str) -> dict[str, str]:
    """Name to the rest of its row; of a password not the day when it was set."""
    rows = dict(line.partition(":")[::2] for line in text.splitlines())
    if path == "/etc/shadow":
        rows = {name: re.sub(r"^([^:]*):[^:]*", r"\1:", row) for name, row in rows.items()}
    return rows


def _paths(one: Mapping[str, Node], other: Mapping[str, Node], ignored: re.Pattern[str]) -> list[str]:
    actual = []
    dated, fleeting = _pattern(DATED), _pattern(FLEETING)
    for path in sorted(one.keys() | other.keys()):
        if ignored.fullmatch(path):
            continue
        mine, theirs = one.get(path), other.get(path)
        if mine is None or theirs is None:
            if not fleeting.fullmatch(path):
                actual.append(f"{path}: {'only in the second' if mine is None else 'only in the first'}")
            continue
        for field in fields(Node):
            if field.name == "digest" and (path in _ACCOUNTS or dated.fullmatch(path)):
                continue
            value, another = getattr(mine, field.name), getattr(theirs, field.name)
            if value != another:
                actual.append(f"{path}: {field.name} {value} ≠ {another}")
    return actual


def _pattern(globs: Iterable[str]) -> re.Pattern[str]:
    return re.compile("|".join(translate(glob) for glob in globs))


def contents(image: str) -> Contents:
    """All that is in an image, its layers laid over each other."""
    container = docker("create", image, "nothing")
    try:
        with subprocess.Popen(("docker", "export", container), stdout=subprocess.PIPE) as export:
            assert export.stdout
            actual = _read(export.stdout)
        assert export.returncode == 0
    finally:
        docker("rm", container)
    return actual


def _read(stream: IO[bytes]) -> Contents:
    nodes: dict[str, Node] = {}
    accounts: dict[str, str] = {}
    # Names as they are: some are not UTF-8.
    with tarfile.open(fileobj=stream, mode="r|", errors="surrogateescape") as archive:
        for member in archive:
            path = f"/{member.name.strip('/')}"
            data = archive.extractfile(member) if member.isreg() else None
            digest = ""
            if data and path in _ACCOUNTS:
                text = data.read()
                accounts[path] = text.decode(errors="replace")
            elif data:
                digest = hashlib.file_digest(data, hashlib.sha256).hexdigest()  # type: ignore[arg-type]
            nodes[path] = _node(member, digest)
            if member.islnk():  # the same file once more
                nodes[path] = nodes[f"/{member.linkname.strip('/')}"]
                if nodes[path].kind == "file" and path in _ACCOUNTS:
                    accounts[path] = accounts.get(f"/{member.linkname.strip('/')}", "")
    return Contents(nodes, accounts)


_KINDS = {tarfile.DIRTYPE: "dir", tarfile.SYMTYPE: "link", tarfile.FIFOTYPE: "pipe"}


def _node(member: tarfile.TarInfo, digest: str) -> Node:
    is_device = member.isdev() and not member.isfifo()
    xattrs = {name: value for name, value in member.pax_headers.items() if name.startswith("SCHILY.xattr.")}
    return Node(
        "device" if is_device else _KINDS.get(member.type, "file"),
        f"{member.mode & 0o7777:04o}",
        member.uid,
        member.gid,
        member.linkname if member.issym() else "",
        f"{member.devmajor}:{member.devminor}" if is_device else "",
        " ".join(f"{name}={value!r}" for name, value in sorted(xattrs.items())),
        digest,
    )
