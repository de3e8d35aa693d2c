"""Find out whether a mount gives a habitat root on the host, or lets it run a command there.

The rule: a writable mount may contain only the person's own data, and no files of root, none that the host runs and
none that it reads as config. No mount may contain a socket of an engine or of a program that controls the machine:
programs can connect to a socket through a readonly mount too.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from phases.core.config.mounts.host_paths import within
from phases.core.files import safe_open

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from phases.core.config.mounts.host_paths import MountTable
    from phases.core.config.mounts.own_places import OwnPlaces

# The usual paths of the sockets of engines, and the names of such sockets elsewhere.
_ENGINE_SOCKETS = (
    "/run/docker.sock",
    "/run/containerd/containerd.sock",
    "/run/docker/containerd/containerd.sock",
    "/run/crio/crio.sock",
    "/run/podman/podman.sock",
)
_ENGINE_SOCKET_NAMES = {"docker.sock", "podman.sock", "containerd.sock", "crio.sock"}

# The most bytes of a docker context's description.
_MAX_BYTES = 1 << 20

# Folders of the kernel and of running programs. Root in a container may write to all of them, with one exception.
_RUNTIME = (Path("/proc"), Path("/sys"), Path("/dev"), Path("/boot"), Path("/run"))
_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 (every user may write there)

# Folders in which programs listen, and how many levels below them the search for sockets goes.
_RUN = Path("/run")
_TEMPORARY = (Path("/tmp"), Path("/var/tmp"))  # noqa: S108 (names, no files of ours)
_LEVELS = {_RUN: 4} | dict.fromkeys(_TEMPORARY, 1)


def privilege(source: Path, own: OwnPlaces, table: MountTable, *, readonly: bool) -> str:
    """Return what in a mount of `source` gives root, in the words of an error; "" for nothing.

    Args:
        source: A path without a link in it.
        own: The person's places.
        table: The mounts of this machine.
        readonly: Whether the mount is.

    Raises:
        OSError: The source can't be read.

    """
    places = table.all_paths(source)
    if socket := next(filter(None, map(_engine_socket, places)), None):
        return f"the engine's socket {socket}"
    if socket := next(filter(None, (_program_socket(place, own) for place in places)), None):
        return f"the socket {socket} of a program of this machine"
    if readonly:
        return ""
    flaws = (_flaw_in_runtime(place) or own.flaw(place) for place in places)
    flaw = _flaw_of_file(source) or next(filter(None, flaws), "")
    return f"{flaw}, and is writable" if flaw else ""


def _flaw_in_runtime(place: Path) -> str:
    if within(place, _SHARED_MEMORY):
        return ""
    return next((str(path) for path in _RUNTIME if within(place, path) or within(path, place)), "")


def _flaw_of_file(source: Path) -> str:
    """Return the flaw of a device, and of a file with a second name."""
    info = source.stat()
    if stat.S_ISBLK(info.st_mode) or stat.S_ISCHR(info.st_mode):
        return f"the device {source}"
    if not stat.S_ISDIR(info.st_mode) and info.st_nlink > 1:
        return f"{source}, which has a second name (a hard link)"
    return ""


# Sockets


def _engine_socket(place: Path) -> Path | None:
    """Return the socket of an engine at or below a path."""
    if place.name in _ENGINE_SOCKET_NAMES and _is_socket(place):
        return place
    sockets = _engine_sockets()
    return next((socket for socket in sockets if socket.is_relative_to(place) or _is_same(socket, place)), None)


def _engine_sockets() -> list[Path]:
    """Return the sockets of engines on this machine, links resolved."""
    hosts = (os.environ.get("DOCKER_HOST", ""), *_hosts_of_contexts())
    named = (host.removeprefix("unix://") for host in hosts if host.startswith("unix://"))
    user = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"
    paths = (Path(text) for text in (*named, *_ENGINE_SOCKETS, f"{user}/docker.sock", f"{user}/podman/podman.sock"))
    return [path.resolve() for path in paths if _is_socket(path)]


def _hosts_of_contexts() -> Iterator[str]:
    """Yield the addresses of engines in the contexts of the docker command."""
    config = Path(os.path.expanduser(os.environ.get("DOCKER_CONFIG") or "~/.docker"))  # noqa: PTH111 (raises nothing)
    for path in config.glob("contexts/meta/*/meta.json"):
        # The docker command can't use an unreadable context either.
        with contextlib.suppress(OSError, ValueError, LookupError, TypeError):
            yield str(json.loads(safe_open.read(path, _MAX_BYTES) or b"")["Endpoints"]["docker"]["Host"])


def _program_socket(place: Path, own: OwnPlaces) -> Path | None:
    """Return the socket of a program of the machine or of the session, at or below a path."""
    if _is_socket(place):
        is_roots = place.stat().st_uid == 0 and not own.is_own(place)
        return place if is_roots or within(place, _RUN) else None
    if place == Path("/"):
        place = _RUN
    levels = _LEVELS[_RUN] if within(place, _RUN) else _LEVELS.get(place)
    return None if levels is None else next(_sockets(place, levels), None)


def _sockets(folder: Path, levels: int) -> Iterator[Path]:
    below: list[Path] = []
    for entry in _entries(folder):
        path = folder / entry.name
        if entry.is_dir(follow_symlinks=False):
            below.append(path)
        elif _is_socket(path) and not entry.is_symlink():
            yield path
    for path in below if levels else ():
        yield from _sockets(path, levels - 1)


def _entries(folder: Path) -> Iterable[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError:  # not readable for this person, or gone
        return ()


def _is_same(socket: Path, place: Path) -> bool:
    """Return whether a path is the socket by another name, such as a hard link."""
    try:
        return socket.samefile(place)
    except OSError:
        return False


def _is_socket(path: Path) -> bool:
    try:
        return stat.S_ISSOCK(path.stat().st_mode)
    except OSError:
        return False
