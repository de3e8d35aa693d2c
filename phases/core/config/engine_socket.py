"""Where the engine can be commanded: whoever reaches it there is root on its machine."""

from __future__ import annotations

import os
import stat
from pathlib import Path

_USUAL = (
    "/run/docker.sock",
    "/run/containerd/containerd.sock",
    "/run/docker/containerd/containerd.sock",
    "/run/crio/crio.sock",
    "/run/podman/podman.sock",
)
_NAMES = {"docker.sock", "podman.sock", "containerd.sock", "crio.sock"}


def within(source: Path) -> Path | None:
    """The engine's socket that a mount of `source` would hand over: itself, or below it. Else None."""
    place = source.resolve()
    if place.name in _NAMES and _is_socket(place):
        return place
    return next((socket for socket in _known() if socket.is_relative_to(place)), None)


def _known() -> list[Path]:
    """The sockets of engines on this machine, links resolved."""
    scheme, _, chosen = os.environ.get("DOCKER_HOST", "").partition("://")
    own = (chosen,) if scheme == "unix" else ()
    user = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"
    paths = (Path(text) for text in (*own, *_USUAL, f"{user}/docker.sock", f"{user}/podman/podman.sock"))
    return [path.resolve() for path in paths if _is_socket(path)]


def _is_socket(path: Path) -> bool:
    try:
        return stat.S_ISSOCK(path.stat().st_mode)
    except OSError:
        return False
