"""What of the host makes root of whoever has it: the engine's socket, and the machine's own files."""

from __future__ import annotations

import contextlib
import json
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from phases.core import files

if TYPE_CHECKING:
    from collections.abc import Iterator

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


# The kernel's, and what root runs: in a container root may write to them.
_KERNEL = ("/proc", "/sys", "/dev", "/boot")
_SYSTEM = ("/etc", "/bin", "/sbin", "/lib", "/usr/bin", "/usr/sbin", "/usr/lib")
_ENGINE = ("/var/lib/docker", "/var/lib/containerd")
_MACHINE = tuple(map(Path, (*_KERNEL, *_SYSTEM, *_ENGINE)))


def given_by(source: Path, *, readonly: bool) -> str:
    """What a mount of `source` would hand over that gives root, as a person calls it; "" for nothing."""
    place = source.resolve()
    if socket := _socket_within(place):
        return f"the engine's socket {socket}"
    own = next((path for path in _MACHINE if place.is_relative_to(path) or path.is_relative_to(place)), None)
    if own is None or readonly or place.is_relative_to("/dev/shm"):  # noqa: S108 (is anybody's)
        return ""
    return f"{own}, to be written to"


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
            yield str(json.loads(files.read(path, _LARGEST) or b"")["Endpoints"]["docker"]["Host"])


def _is_same(socket: Path, place: Path) -> bool:
    """Whether it is the same by another name, as a hard link is."""
    try:
        return socket.samefile(place)
    except OSError:
        return False


def _is_socket(path: Path) -> bool:
    try:
        return stat.S_ISSOCK(path.stat().st_mode)
    except OSError:
        return False
