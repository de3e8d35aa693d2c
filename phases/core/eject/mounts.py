"""The mounts of a build's commands, and the mount points that stay in the image."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

from msgspec.structs import replace

from phases.core.config.mounts.mountable_paths import in_home, within
from phases.core.config.schema.sections import SHARINGS
from phases.core.eject.quoting import mount_flag
from phases.core.model import SECRETS_FOLDER
from phases.core.secrets import ssh_agent
from phases.protocol import Run
from phases.registry import mounts_caches, mounts_volumes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from phases.core.model import Habitat, Mount
    from phases.protocol import Phase, Step

#: The stage with all files that are copied or run.
CONTEXT = "context"

#: Where those are mounted. A container's /dev is not a part of the image, so no mount point stays there.
MOUNT_FOLDER = "/dev"

#: The folder of the context with the content of volumes.
VOLUMES = "volumes"

_AGENT_SOCKET = ssh_agent.ENV["SSH_AUTH_SOCK"]
_AGENT_FOLDER = _AGENT_SOCKET.rpartition("/")[0]


def context_mount(path: str, target: str) -> str:
    """Return the flag that mounts a path of the context at `target`."""
    return f"--mount=from={CONTEXT},source={path},target={target}"


def _home(habitat: Habitat) -> str:
    """Return the home that mounts are written for. The script that makes the mount points fails for another one."""
    return habitat.env.get("HOME", "/root" if habitat.user == "root" else f"/home/{habitat.user}")


def numbered_volumes(habitat: Habitat) -> list[tuple[int, Mount]]:
    """Return the volumes that exist on this host, each with its name below `VOLUMES`, and with a home for ~."""
    home = _home(habitat)
    present = (replace(v, dest=in_home(v.dest, home)) for v in habitat.volumes if v.present)
    return list(enumerate(present, start=1))


def known_hosts(habitat: Habitat) -> dict[Path, str]:
    """Return the files with host keys for the SSH agent, each with the name of the build's secret for it."""
    paths = dict.fromkeys(repo.known_hosts for repo in habitat.repos if repo.known_hosts)
    return {path: f"known_hosts.{number}" if number else "known_hosts" for number, path in enumerate(paths) if path}


def volumes(habitat: Habitat, phase: Phase, dests: Sequence[str] | None = None) -> list[str]:
    """Return the flags that mount volumes.

    Args:
        habitat: The habitat.
        phase: The phase of the command.
        dests: The paths that the command uses, None for any. A home may be in any volume.
    """
    if not mounts_volumes(phase):
        return []
    return [
        mount_flag(
            volume.origin, source=f"{VOLUMES}/{number}", target=volume.dest, **({} if volume.readonly else {"rw": ""})
        )
        for number, volume in numbered_volumes(habitat)
        if dests is None or any(dest[:1] == "~" or f"{dest}/".startswith(f"{volume.dest}/") for dest in dests)
    ]


def caches(habitat: Habitat, phase: Phase, stage: str) -> list[str]:
    """Return the flags that mount caches.

    Args:
        habitat: The habitat.
        phase: The phase of the command.
        stage: The stage with the mount points; a new cache takes its content and owner from them.
    """
    if not mounts_caches(phase):
        return []
    home = _home(habitat)
    paths = ((cache, in_home(cache.path, home)) for cache in habitat.caches)
    return [
        mount_flag(
            cache.origin,
            type="cache",
            id=f"{habitat.name}:{path}",
            target=path,
            sharing=SHARINGS[cache.locked],
            **{"from": stage, "source": path},
        )
        for cache, path in paths
    ]


def _volume_points(habitat: Habitat) -> Iterator[str]:
    """Yield the mount points of volumes, but for those inside another volume, as `the build` makes them."""
    home = _home(habitat)
    users = [folder for folder in (home, habitat.workdir) if folder.strip("/")]
    present = [in_home(volume.dest, home) for volume in habitat.volumes if volume.present]
    for volume in habitat.volumes:
        place = in_home(volume.dest, home)
        if any(place != other and within(place, other) for other in present):
            continue
        if volume.present:
            yield volume.dest + "/" * volume.source.is_dir()
        elif any(within(posixpath.dirname(place), folder) for folder in users):
            yield f"{posixpath.dirname(volume.dest)}/"


def secrets(habitat: Habitat, phase: Phase, step: Run) -> list[str]:
    """Return the flags that mount secrets.

    Only the image knows a user's uid, so everybody may read a user's secrets; nobody else runs in the build.
    """
    mode = "0400" if step.user == "root" else "0444"
    flags = [
        f"--mount=type=secret,id={secret.name},target={SECRETS_FOLDER}/{secret.name},mode={mode}"
        + ("" if secret.optional else ",required=true")
        for secret in habitat.secrets_of(phase.NAME)
    ]
    if step.known_hosts:
        name, target = known_hosts(habitat)[step.known_hosts], f"{SECRETS_FOLDER}/.known_hosts"
        flags.append(f"--mount=type=secret,id={name},target={target},mode={mode},required=true")
    return [f"--mount=type=tmpfs,target={SECRETS_FOLDER}", *flags] if flags else []


def agent(step: Run) -> list[str]:
    """Return the flags that mount the SSH agent's socket, for a command that uses the agent."""
    if not step.known_hosts:
        return []
    folder = f"--mount=type=tmpfs,target={_AGENT_FOLDER}"
    return [folder, f"--mount=type=ssh,target={_AGENT_SOCKET},mode=0666,required=true"]


def mount_points(habitat: Habitat, phase: Phase, steps: Sequence[Step]) -> list[str]:
    """Return the mount points of a phase that a habitat's image keeps.

    A builder may remove its own mount points, so these are made as a part of the image.

    Returns:
        Paths; a folder's ends in a slash.
    """
    runs = [step for step in steps if isinstance(step, Run)]
    paths: list[str] = []
    if phase.NAME == "files":
        paths += _volume_points(habitat)
    uses_agent = any(run.known_hosts for run in runs)
    if uses_agent or (runs and habitat.secrets_of(phase.NAME)):
        paths.append(f"{SECRETS_FOLDER}/")
    return [*paths, f"{_AGENT_FOLDER}/"] if uses_agent else paths
