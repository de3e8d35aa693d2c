"""The users of the image of a container."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phases.core.build.container.file_cache import KnownFiles
from phases.core.container import identity, root_environment
from phases.core.container.users import UserDatabase

if TYPE_CHECKING:
    from phases.core.engine.types import Container
    from phases.core.model import Habitat
    from phases.core.project import Project


def users_of_image(project: Project, habitat: Habitat, container: Container) -> UserDatabase:
    """Return the users that a container's image has.

    The container is asked only if no earlier run has read the file, since that takes the engine thirty milliseconds.
    """
    known_files = KnownFiles(project)

    def read(path: str) -> bytes:
        known = known_files.of(habitat.name).setdefault(container.image, {})
        if path not in known:
            known[path] = project.engine.read_file(container.id, path) or b""
            known_files.save(habitat.name)
        return known[path]

    return UserDatabase(read, identity.homes(habitat, root_environment.environment_of_label(container.labels)))
