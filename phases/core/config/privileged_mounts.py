"""What of the host gives root, or a command that runs there, to a habitat that it is mounted in.

The rule: only a person's own data may be mounted to be written to. All that root owns, all that the host runs and all
that it reads as config is more than that. The sockets of engines, and of what runs the machine, are more than that in
any mount, since a mount that can't be written to still lets programs connect to them.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from phases.core.config.host_paths import within
from phases.core.files import safe_open

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from phases.core.config.host_paths import MountTable
    from phases.core.config.own_places import OwnPlaces

_USUAL = (
    "/run/docker.sock",
    "/run/containerd/containerd.sock",
    "/run/docker/containerd/containerd.sock",
    "/run/crio/crio.sock",
    "/run/podman/podman.sock",
)
# Bytes of a context's description.
_LARGEST = 1 << 20

_NAMES = {"docker.sock", "podman.sock", "containerd.sock", "crio.sock"}

# The kernel's, what boots it, and what runs: in a container root may write to them.
_RUNTIME = (Path("/proc"), Path("/sys"), Path("/dev"), Path("/boot"), Path("/run"))
_MEMORY = Path("/dev/shm")  # noqa: S108 (is anybody's)

# Where programs listen, and how deep a socket is looked for in there.
_RUN = Path("/run")
_TEMPORARY = (Path("/tmp"), Path("/var/tmp"))  # noqa: S108 (names, no files of ours)
_DEEP = {_RUN: 4} | dict.fromkeys(_TEMPORARY, 1)


def given_by(source: Path, own: OwnPlaces, table: MountTable, *, readonly: bool) -> str:
    """Return what a mount of `source` hands over that gives root, as a person calls it; "" for nothing.

    source: without a link in it.
    """
    places = table.spellings(source)
    if socket := next(filter(None, map(_socket_within, places)), None):
        return f"the engine's socket {socket}"
    if socket := next(filter(None, (_listening(place, own) for place in places)), None):
        return f"the socket {socket} of a program of this machine"
    if readonly:
        return ""
    why = _other_name(source) or next(filter(None, (_runtime(place) or own.flaw(place) for place in places)), "")
    return f"{why}, to be written to" if why else ""


def _runtime(place: Path) -> str:
    if within(place, _MEMORY):
        return ""
    return next((str(path) for path in _RUNTIME if within(place, path) or within(path, place)), "")


def _other_name(source: Path) -> str:
    """What a file is that is not just the one at its path."""
    info = source.stat()
    if stat.S_ISBLK(info.st_mode) or stat.S_ISCHR(info.st_mode):
        return f"the device {source}"
    if not stat.S_ISDIR(info.st_mode) and info.st_nlink > 1:
        return f"{source}, which has another name as well (a hard link)"
    return ""


# Sockets


def _socket_within(place: Path) -> Path | None:
    if place.name in _NAMES and _is_socket(place):
        return place
    return next((socket for socket in _known() if socket.is_relative_to(place) or _is_same(socket, place)), None)


def _known() -> list[Path]:
    """The sockets of engines on this machine, links resolved."""
    hosts = (os.environ.get("DOCKER_HOST", ""), *_hosts_of_contexts())
    own = (host.removeprefix("unix://") for host in hosts if host.startswith("unix://"))
    user = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"
    paths = (Path(text) for text in (*own, *_USUAL, f"{user}/docker.sock", f"{user}/podman/podman.sock"))
    return [path.resolve() for path in paths if _is_socket(path)]


def _hosts_of_contexts() -> Iterator[str]:
    """Where the docker command has engines to choose from."""
    config = Path(os.path.expanduser(os.environ.get("DOCKER_CONFIG") or "~/.docker"))  # noqa: PTH111 (raises nothing)
    for path in config.glob("contexts/meta/*/meta.json"):
        # What can't be read leads the docker command nowhere either.
        with contextlib.suppress(OSError, ValueError, LookupError, TypeError):
            yield str(json.loads(safe_open.read(path, _LARGEST) or b"")["Endpoints"]["docker"]["Host"])


def _listening(place: Path, own: OwnPlaces) -> Path | None:
    """A socket, or one in a folder, that a program of the machine or of the session listens at."""
    if _is_socket(place):
        is_roots = place.stat().st_uid == 0 and not own.is_own(place)
        return place if is_roots or within(place, _RUN) else None
    if place == Path("/"):
        return next(_sockets(_RUN, _DEEP[_RUN]), None)
    deep = _DEEP[_RUN] if within(place, _RUN) else _DEEP.get(place)
    return None if deep is None else next(_sockets(place, deep), None)


def _sockets(folder: Path, deep: int) -> Iterator[Path]:
    below: list[Path] = []
    for entry in _entries(folder):
        path = folder / entry.name
        if entry.is_dir(follow_symlinks=False):
            below.append(path)
        elif _is_socket(path) and not entry.is_symlink():
            yield path
    for path in below if deep else ():
        yield from _sockets(path, deep - 1)


def _entries(folder: Path) -> Iterable[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            return list(found)
    except OSError:  # closed to this person, or gone
        return ()


def _is_same(socket: Path, place: Path) -> bool:
    """Return whether it is the same by another name, as a hard link is."""
    try:
        return socket.samefile(place)
    except OSError:
        return False


def _is_socket(path: Path) -> bool:
    try:
        return stat.S_ISSOCK(path.stat().st_mode)
    except OSError:
        return False
