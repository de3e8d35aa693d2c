"""Refuse what a build would put into a VOLUME of its base image, since no image keeps that."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phases.core.config.mounts.mountable_paths import in_home, within
from phases.core.config.mounts.volume_conflicts import written_paths
from phases.core.copied_files import shown_dockerfile
from phases.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from phases.core.model import Habitat
    from phases.core.origin import Origin


def check(habitat: Habitat, image_volumes: Collection[str], home: str = "") -> None:
    """Refuse a place of the build that is in a VOLUME.

    Args:
        habitat: The habitat.
        image_volumes: The folders that the image that a phase starts from names as VOLUME.
        home: USER's home, "" if the image doesn't say yet.

    Raises:
        ConfigError: With the line of the place.
    """
    home = home or ("/root" if habitat.user == "root" else f"/home/{habitat.user}")
    for folder in uncovered(habitat, image_volumes, home):
        for subject, path, origin in _places(habitat, folder, home):
            if within(path, folder):
                problem = f"{subject} is in {folder}, a VOLUME of {base_name(habitat)}"
                raise ConfigError(
                    f"{problem}: no image keeps what a build writes there",
                    where=origin,
                    remedy="choose another place" + (", or remove the VOLUME" if habitat.has_dockerfile else ""),
                )


def uncovered(habitat: Habitat, image_volumes: Collection[str], home: str = "") -> list[str]:
    """Return the folders of VOLUME without those whose place a volume of the config takes. home: USER's, if known."""
    folders = [folder.rstrip("/") for folder in image_volumes]
    taken = [in_home(volume.dest, home) for volume in habitat.volumes if volume.present]
    return [folder for folder in folders if not any(within(folder, dest) for dest in taken)]


def _places(habitat: Habitat, folder: str, home: str) -> Iterator[tuple[str, str, Origin]]:
    """Yield the places of the build, each with its subject in an error and its line."""
    yield f"the home of USER, {home},", home, _line(habitat, "USER")
    yield f"WORKDIR: {habitat.workdir}", habitat.workdir, _line(habitat, "WORKDIR")
    for subject, path, origin in written_paths(habitat, folder):
        yield subject, in_home(path, home), origin


def _line(habitat: Habitat, variable: str) -> Origin:
    return habitat.env.origin(variable) if variable in habitat.env.values else habitat.base_origin


def base_name(habitat: Habitat) -> str:
    """Return the image that the habitat starts from, as a person knows it: its name, or its Dockerfile."""
    return shown_dockerfile(habitat) if habitat.has_dockerfile else habitat.base_image
