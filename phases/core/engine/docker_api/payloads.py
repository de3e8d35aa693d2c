"""Bodies of requests: containers and commands in the words of Docker's API."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from phases.core.engine.confinement.restrictions import BRIDGE, Restrictions
from phases.core.engine.types import Bind, Tmpfs, VolumeMount

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from phases.core.port import Port


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
    """Return the body for a new container that runs as root, without the image's entrypoint."""
    host: dict[str, Any] = {
        "Mounts": [_mount(mount) for mount in mounts if not isinstance(mount, Tmpfs)],
        "Tmpfs": {mount.dest: mount.options for mount in mounts if isinstance(mount, Tmpfs)},
        "PortBindings": _port_bindings(ports),
        "Memory": restrictions.memory,
        # The sum of memory and swap. Without it, an engine allows as much swap as memory.
        "MemorySwap": restrictions.memory,
        "NanoCpus": round(restrictions.cpus * 1e9),
        "NetworkMode": "default" if restrictions.network == BRIDGE else restrictions.network,
        "ReadonlyRootfs": restrictions.read_only,
    }
    if restrictions.pids:
        host["PidsLimit"] = restrictions.pids
    if restrictions.shm:
        host["ShmSize"] = restrictions.shm
    if not restrictions.capabilities:
        host["CapDrop"] = ["ALL"]
    if not restrictions.privileges:
        host["SecurityOpt"] = ["no-new-privileges"]
    return {
        "Image": image,
        "Cmd": list(command),
        "Entrypoint": [],
        # The engine would run an image's own health check as root.
        "Healthcheck": {"Test": ["NONE"]},
        "User": "0",
        "Env": _env(env),
        "Labels": dict(labels),
        "Hostname": hostname,
        "ExposedPorts": {_port_key(port): {} for port in ports},
        "HostConfig": host,
    }


# Docker and Podman can't do without keys that detach an exec, take ASCII alone, and hold the first one back until the
# next key. Their own, Ctrl-P, is a key of every shell and editor. Ctrl-^ is hardly used, and nobody types all of these.
_DETACH_KEYS = "ctrl-^,ctrl-@,ctrl-^,ctrl-@"


def log_limit(size: int) -> dict[str, Any]:
    """Return the log config that keeps about `size` bytes of output, with the engine's own log driver."""
    return {"Type": "", "Config": {"max-size": str(size // 2), "max-file": "2"}}


def instruction_word(value: str) -> str:
    """Quote a value for a Dockerfile instruction, which expands variables and strips spaces."""
    return '"' + re.sub(r'([\\$"])', r"\\\1", value) + '"'


def _env(env: Mapping[str, str]) -> list[str]:
    return [f"{name}={value}" for name, value in env.items()]


def _mount(mount: Bind | VolumeMount) -> dict[str, Any]:
    if isinstance(mount, Bind):
        return {"Type": "bind", "Source": mount.source, "Target": mount.dest, "ReadOnly": mount.readonly}
    options = {"NoCopy": not mount.copies, "Labels": dict(mount.labels)}
    return {"Type": "volume", "Source": mount.volume, "Target": mount.dest, "VolumeOptions": options}


def _port_key(port: Port) -> str:
    return f"{port.inside}/{port.protocol}"


def _port_bindings(ports: Sequence[Port]) -> dict[str, Any]:
    """Return the ports inside, each with all addresses of the host where it is published."""
    result: dict[str, Any] = {}
    for port in ports:
        binding = {"HostIp": port.ip, "HostPort": str(port.host or "")}
        result.setdefault(_port_key(port), []).append(binding)
    return result


def command(
    argv: Sequence[str], user: str, workdir: str, env: Mapping[str, str], *, stdin: bool, tty: bool
) -> dict[str, Any]:
    """Return the body for an exec in a running container."""
    return {
        "DetachKeys": _DETACH_KEYS,
        "Cmd": list(argv),
        "User": user or "0",
        "WorkingDir": workdir,
        "Env": _env(env),
        "Tty": tty,
        "AttachStdin": stdin,
        "AttachStdout": True,
        "AttachStderr": True,
    }
