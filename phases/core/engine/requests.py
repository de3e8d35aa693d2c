"""What is asked of an engine, in the API's own words. What it answers is `answers`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from phases.core.engine.protocol import Bind, Restrictions, Tmpfs, VolumeMount

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from phases.core.port import Port

# Everybody may pass through, and find what he knows the name of.
_TMPFS = "mode=0711,size=64m"

IMAGES = "/images/json"
LISTING = "listing images"


def path(form: str, name: str = "", /, **query: str | bytes | bool | int | None) -> str:
    """The path of a request. form: `{}` is the place of `name`; query: what is None, False or empty is left out."""
    # A colon and a slash stand in the names of images, and in no other.
    place = form.format(quote(name, safe="/:"))
    words = [
        f"{key}={quote('1' if value is True else str(value) if isinstance(value, int) else value, safe='')}"
        for key, value in query.items()
        if value is not None and value is not False and value not in ("", b"")
    ]
    return f"{place}?{'&'.join(words)}" if words else place


def filters(**wanted: str) -> str | None:
    """Of a list: only what has this. None where nothing is wanted."""
    found = {key: [value] for key, value in wanted.items() if value}
    return json.dumps(found) if found else None


def container(
    image: str,
    command: Sequence[str],
    env: Mapping[str, str],
    labels: Mapping[str, str],
    mounts: Sequence[Bind | Tmpfs | VolumeMount],
    hostname: str,
    restrictions: Restrictions,
    ports: Sequence[Port],
) -> dict[str, Any]:
    """One to be made: root's, without the image's entrypoint."""
    host: dict[str, Any] = {
        "Mounts": [_mount(mount) for mount in mounts if not isinstance(mount, Tmpfs)],
        "Tmpfs": {mount.dest: _TMPFS for mount in mounts if isinstance(mount, Tmpfs)},
        "PortBindings": _bindings(ports),
        "Memory": restrictions.memory,
        "NanoCpus": round(restrictions.cpus * 1e9),
        "NetworkMode": "default" if restrictions.network else "none",
    }
    if restrictions.pids:
        host["PidsLimit"] = restrictions.pids
    if not restrictions.privileges:
        host["SecurityOpt"] = ["no-new-privileges"]
    return {
        "Image": image,
        "Cmd": list(command),
        "Entrypoint": [],
        # The engine would run an image's own as root.
        "Healthcheck": {"Test": ["NONE"]},
        "User": "0",
        "Env": _pairs(env),
        "Labels": dict(labels),
        "Hostname": hostname,
        "ExposedPorts": {_inside(port): {} for port in ports},
        "HostConfig": host,
    }


def log_limit(size: int) -> dict[str, Any]:
    """Bytes of what the main process prints that are kept, by whatever the engine logs with."""
    return {"Type": "", "Config": {"max-size": str(size // 2), "max-file": "2"}}


def _pairs(env: Mapping[str, str]) -> list[str]:
    return [f"{name}={value}" for name, value in env.items()]


def _mount(mount: Bind | VolumeMount) -> dict[str, Any]:
    if isinstance(mount, Bind):
        return {"Type": "bind", "Source": mount.source, "Target": mount.dest, "ReadOnly": mount.readonly}
    how = {"NoCopy": not mount.copies, "Labels": dict(mount.labels)}
    return {"Type": "volume", "Source": mount.volume, "Target": mount.dest, "VolumeOptions": how}


def _inside(port: Port) -> str:
    return f"{port.inside}/{port.protocol}"


def _bindings(ports: Sequence[Port]) -> dict[str, Any]:
    """What is inside to all the places where it is published."""
    result: dict[str, Any] = {}
    for port in ports:
        place = {"HostIp": port.ip, "HostPort": str(port.host or "")}
        result.setdefault(_inside(port), []).append(place)
    return result


def command(
    argv: Sequence[str], user: str, workdir: str, env: Mapping[str, str], *, stdin: bool, tty: bool
) -> dict[str, Any]:
    """One in a container that runs."""
    return {
        "Cmd": list(argv),
        "User": user or "0",
        "WorkingDir": workdir,
        "Env": _pairs(env),
        "Tty": tty,
        "AttachStdin": stdin,
        "AttachStdout": True,
        "AttachStderr": True,
    }
