"""The volumes of a habitat as the engine mounts them."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from msgspec.structs import replace

from phases.core.config.mounts import host_paths, mountable_paths
from phases.core.engine.types import Bind, VolumeMount
from phases.core.errors import ConfigError
from phases.registry import mounts_volumes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from phases.core.model import Habitat
    from phases.protocol import Phase

_Mount = TypeVar("_Mount", Bind, VolumeMount, Bind | VolumeMount)


def need_home(mounts: Iterable[Bind | VolumeMount]) -> bool:
    """Return whether one of some mounts is below ~."""
    return any(mount.dest.startswith("~") for mount in mounts)


def in_home(mounts: Iterable[_Mount], home: str) -> tuple[_Mount, ...]:
    """Return mounts with USER's home in the place of ~."""
    return tuple(replace(mount, dest=mountable_paths.in_home(mount.dest, home)) for mount in mounts)


def mounts_of(habitat: Habitat) -> tuple[Bind, ...]:
    """Return the mounts of all volumes whose source exists on this host. Their dest may begin with ~."""
    return tuple(Bind(str(v.source), v.dest, v.readonly) for v in habitat.volumes if v.present)


def mounts_in(habitat: Habitat, phase: Phase) -> tuple[Bind, ...]:
    """Return the mounts for the build of a phase, or for a shell in its snapshot; none for a phase without volumes."""
    return mounts_of(habitat) if mounts_volumes(phase) else ()


def admit(agree: Callable[[Habitat], None], habitat: Habitat, mounts: Sequence[Bind]) -> None:
    """Check that a container of the habitat may be made with `mounts`.

    Args:
        agree: Raises an error if the person has not agreed to what the habitat does on the host.
        habitat: The habitat.
        mounts: The folders of the host that the container gets.

    Raises:
        HabitatError: The person did not agree, or a source has changed (see `check`).
    """
    if mounts:
        if any(volume.gives_root for volume in habitat.volumes):
            agree(habitat)
        check(habitat)


def check(habitat: Habitat) -> None:
    """Check that each source is still the same file or folder as when the config was checked, and not behind a link.

    An engine looks paths up itself, when it makes a container and each time it starts one. So this is called right
    before both. Raises ConfigError.
    """
    for volume in habitat.volumes:
        if volume.present and host_paths.pin(volume.source) != volume.pin:
            raise ConfigError(
                f"volumes: {volume.shown} is not what it was when this run began: something else is at {volume.source}",
                where=volume.origin,
                remedy="see who has changed it, then run the same command again",
            )
