"""What a command of the build finds beside its image, and what of that leaves a place in the image."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phases.core.config.mount_rules import in_home
from phases.core.eject.quoting import mount
from phases.core.model import SECRETS_FOLDER, SHARINGS
from phases.core.secrets import ssh_agent
from phases.protocol import Run
from phases.registry import mounts_caches, mounts_volumes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from phases.core.model import Habitat, Mount
    from phases.protocol import Phase, Step

#: The stage that has all that is copied and run.
CONTEXT = "context"

#: In a container /dev is no part of the image, so nothing that is mounted there leaves a trace.
PLACE = "/dev"

#: The folder of the context with what commands find where a volume is mounted.
VOLUMES = "volumes"

_AGENT_SOCKET = ssh_agent.ENV["SSH_AUTH_SOCK"]
_AGENT_FOLDER = _AGENT_SOCKET.rpartition("/")[0]


def given(path: str, target: str) -> str:
    """A path of the context, for a command to find at `target`."""
    return f"--mount=from={CONTEXT},source={path},target={target}"


def numbered(habitat: Habitat) -> list[tuple[int, Mount]]:
    """The volumes that this host has, with what a copy of each is called in the context."""
    return list(enumerate((volume for volume in habitat.volumes if volume.present), start=1))


def known_hosts(habitat: Habitat) -> dict[Path, str]:
    """The files of host keys that the SSH agent is used with, and the secrets that they are for a build."""
    found = dict.fromkeys(repo.known_hosts for repo in habitat.repos if repo.known_hosts)
    return {path: f"known_hosts.{number}" if number else "known_hosts" for number, path in enumerate(found) if path}


def volumes(habitat: Habitat, phase: Phase, dests: Sequence[str] | None = None) -> list[str]:
    """dests: all that the command writes, where that is known; a home may be anywhere."""
    if not mounts_volumes(phase):
        return []
    return [
        mount(
            volume.origin, source=f"{VOLUMES}/{number}", target=volume.dest, **({} if volume.readonly else {"rw": ""})
        )
        for number, volume in numbered(habitat)
        if dests is None or any(dest[:1] == "~" or f"{dest}/".startswith(f"{volume.dest}/") for dest in dests)
    ]


def caches(habitat: Habitat, phase: Phase, stage: str) -> list[str]:
    """stage: that has the places, which tell a new cache what is in it and whose it is. Where the home is, only
    the image knows: the script that makes the places says where that is another than here.
    """
    if not mounts_caches(phase):
        return []
    home = "/root" if habitat.user == "root" else f"/home/{habitat.user}"
    found = ((cache, in_home(cache.path, home)) for cache in habitat.caches)
    return [
        mount(
            cache.origin,
            type="cache",
            id=f"{habitat.name}:{place}",
            target=place,
            sharing=SHARINGS[cache.locked],
            **{"from": stage, "source": place},
        )
        for cache, place in found
    ]


def secrets(habitat: Habitat, phase: Phase, step: Run) -> list[str]:
    """A user's number is known in the image only, so all may read them; nobody else runs there meanwhile."""
    mode = "0400" if step.user == "root" else "0444"
    found = [
        f"--mount=type=secret,id={secret.name},target={SECRETS_FOLDER}/{secret.name},mode={mode}"
        + ("" if secret.optional else ",required=true")
        for secret in habitat.secrets_of(phase.NAME)
    ]
    if step.known_hosts:
        place = f"{SECRETS_FOLDER}/.known_hosts"
        found.append(
            f"--mount=type=secret,id={known_hosts(habitat)[step.known_hosts]},target={place},mode={mode},required=true"
        )
    return [f"--mount=type=tmpfs,target={SECRETS_FOLDER}", *found] if found else []


def agent(step: Run) -> list[str]:
    if not step.known_hosts:
        return []
    folder = f"--mount=type=tmpfs,target={_AGENT_FOLDER}"
    return [folder, f"--mount=type=ssh,target={_AGENT_SOCKET},mode=0666,required=true"]


def places(habitat: Habitat, phase: Phase, steps: Sequence[Step]) -> list[str]:
    """What an engine makes for its mounts in a phase, and leaves in the image; builders take that back, or
    not. A folder ends in a slash.
    """
    runs = [step for step in steps if isinstance(step, Run)]
    found: list[str] = []
    if phase.NAME == "files":
        found += [volume.dest + "/" * volume.source.is_dir() for _, volume in numbered(habitat)]
    lends = any(run.known_hosts for run in runs)
    if lends or (runs and habitat.secrets_of(phase.NAME)):
        found.append(f"{SECRETS_FOLDER}/")
    return [*found, f"{_AGENT_FOLDER}/"] if lends else found
