"""Finds USER's home in an image, for mount points below ~, which a container is created with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phases.core.container import identity
from phases.core.container.init_process import IDLE, replace_container
from phases.core.container.users import UserDatabase

if TYPE_CHECKING:
    from collections.abc import Mapping

    from phases.core.engine.protocol import Engine
    from phases.core.engine.types import ImageConfig
    from phases.core.model import Habitat


def in_image(
    engine: Engine, image: ImageConfig, name: str, habitat: Habitat, known: Mapping[str, bytes] | None = None
) -> str:
    """Return the home of USER.

    Args:
        engine: The engine.
        image: The image.
        name: A name for a container of the image. No other run may have it.
        habitat: The habitat.
        known: Files of the image that are known.

    Raises:
        ConfigError: USER has no home. It has the line of the first volume below ~.
    """

    def read(path: str) -> bytes:
        if known and path in known:
            return known[path]
        container = replace_container(engine, name, lambda name: engine.create(image.id, name, IDLE))
        try:
            return engine.read_file(container, path) or b""
        finally:
            engine.remove(container)

    origin = next((volume.origin for volume in habitat.volumes if volume.dest.startswith("~")), habitat.base_origin)
    return UserDatabase(read, identity.homes(habitat, image.env)).expand("~", habitat.user, origin)
