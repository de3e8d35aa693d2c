"""The users of the image of a container."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from phases.core.cache.image_files import KnownFiles
from phases.core.config.mounts.mountable_paths import within
from phases.core.container import identity, root_environment
from phases.core.container.users import UserDatabase
from phases.core.errors import EngineError
from phases.core.runtime.own_containers import LABEL_CARRIED
from phases.core.runtime.persistence.volumes import persistence_of

if TYPE_CHECKING:
    from phases.core.engine.types import Container
    from phases.core.model import Habitat
    from phases.core.project import Project

_PASSWD = "/etc/passwd"  # noqa: S105 (a path)


def learn(project: Project, name: str, container: Container) -> None:
    """Record the users of a container's image, unless they are known or on a mount.

    Args:
        project: The project.
        name: The name of the habitat.
        container: A new container, which was never started: in another one a person may have changed the users.
    """
    known_files = KnownFiles(project.state_folder)
    if container.labels.get(LABEL_CARRIED):
        return  # it has the files of one in which a person may have changed the users
    known = known_files.of(name).setdefault(container.image, {})
    mounts = [bind.dest for bind in container.binds]
    mounts += [entry.mount_point for entry in persistence_of(container).folders]
    if _PASSWD in known or any(within(_PASSWD, mount) for mount in mounts):
        return
    with suppress(EngineError):  # whatever is wrong with the container, its start reports it
        known[_PASSWD] = project.engine.read_file(container.id, _PASSWD) or b""
        known_files.save(name)


def users_of_image(project: Project, habitat: Habitat, container: Container) -> UserDatabase:
    """Return the users that a container's image has, or those of the container itself if the image's aren't known.

    The container is asked only then, since that takes the engine thirty milliseconds.
    """
    image = container.labels.get(LABEL_CARRIED, "").partition(" ")[0] or container.image
    known = KnownFiles(project.state_folder).of(habitat.name).get(image, {})

    def read(path: str) -> bytes:
        return known[path] if path in known else project.engine.read_file(container.id, path) or b""

    return UserDatabase(read, identity.homes(habitat, root_environment.environment_of_label(container.labels)))
