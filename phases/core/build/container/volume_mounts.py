"""The mount points of volumes in an image.

If the engine made them, they and the folders above them would be root's, also in USER's home. So phase 6 makes them, in
a container without volumes, before anything is mounted.
"""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

from phases.core.build.container.outbox import PendingEntry
from phases.core.cache import host_mounts
from phases.core.config.mounts import volume_conflicts
from phases.core.config.mounts.mountable_paths import within
from phases.core.container import user_home
from phases.core.container.mount_points import MountPoints

if TYPE_CHECKING:
    from phases.core.build.container.container import BuildContainer
    from phases.core.build.context import PhaseContext
    from phases.core.engine.types import Bind, ImageConfig


def resolved(work: PhaseContext, image: ImageConfig) -> tuple[Bind, ...]:
    """Return the mounts of a phase's volumes, with USER's home in the place of ~. Raises ConfigError if it has none."""
    if not host_mounts.need_home(work.binds):
        return work.binds
    known = work.known_files.get(image.id, {})
    home = user_home.in_image(work.engine, image, work.draft_name, work.habitat, known)
    return host_mounts.in_home(work.binds, home)


def make(work: PhaseContext, image: ImageConfig, container: BuildContainer) -> None:
    """Make the mount points of all volumes. A missing folder in USER's home or in WORKDIR becomes USER's.

    A volume that this host lacks gets only the folders above it that are USER's.

    Args:
        work: Phase 6.
        image: The image that it starts from.
        container: A container of the image without volumes.

    Raises:
        HabitatError: Volumes overlap, or a link that USER may have made leads to one.
    """
    habitat = work.habitat
    paths = [(volume.dest, volume.origin) for volume in habitat.volumes]
    container.stat("/")  # creates the container
    points = MountPoints(
        container.read,
        container.stat,
        lambda path: work.engine.path_info(container.id, path),
        habitat,
        image.env,
        paths,
    )
    places = points.volumes(habitat)
    volume_conflicts.check_resolved_mount_points(habitat, places)
    present = [places[volume.dest] for volume in habitat.volumes if volume.present]
    for volume in habitat.volumes:
        place = places[volume.dest]
        is_dir = volume.source.is_dir() or not volume.present
        if any(place != other and within(place, other) for other in present):
            continue  # its mount point is on the host
        if not volume.present:
            place = posixpath.dirname(place)
        if volume.present or points.is_users(place):
            owner = points.owner_of(place)
            container.put(place, PendingEntry("dir" if is_dir else "file", 0o755, owner, is_mount_point=True))
