"""Inspect the image that a Dockerfile builds on: its settings and its users."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from phases.core import events
from phases.core.build.base_image import pull_remedy
from phases.core.container.init_process import IDLE
from phases.core.container.users import UserDatabase
from phases.core.engine.types import ImageConfig
from phases.core.errors import ConfigError, EngineError, EngineUnreachable

if TYPE_CHECKING:
    from phases.core.project import Project

# Part of the names of the containers that this makes.
_PURPOSE = "migrate"


@dataclass(frozen=True)
class BaseImage:
    """An image's settings and its users."""

    config: ImageConfig
    users: UserDatabase


EMPTY = BaseImage(ImageConfig(""), UserDatabase(lambda _: b""))


def inspect(project: Project, name: str, reference: str, where: str) -> BaseImage:
    """Inspect an image for the habitat `name`, pulling it if the engine doesn't have it.

    Args:
        project: The project.
        name: The habitat.
        reference: The image.
        where: The line of its FROM, for errors.

    Raises:
        ConfigError: The reference is not valid.
        EngineError: The image can't be pulled or read.
    """
    engine = project.engine
    try:
        config = engine.image_config(reference)
    except EngineUnreachable:
        raise
    except EngineError as error:
        problem = f"FROM names {reference!r}, which can't be an image's name"
        remedy = "correct it, or give the ARG in it a value: --arg NAME=VALUE"
        raise ConfigError(problem, where=where, remedy=remedy) from error
    if config is None:
        project.bus.emit(events.Notice(name, f"pulling {reference} to read its user, variables and command"))
        try:
            engine.pull(reference, lambda *_: None)
            config = engine.image_config(reference)
        except EngineUnreachable:
            raise
        except EngineError as error:
            remedy = pull_remedy(reference, error.message)
            raise EngineError(f"{reference} can't be pulled ({error.message})", where=where, remedy=remedy) from error
    if config is None:
        raise EngineError(f"the engine has no image {reference}", where=where, remedy="run the same command again")
    files = _user_files(project, name, config.id)
    return BaseImage(config, UserDatabase(lambda path: files.get(path, b"")))


def _user_files(project: Project, name: str, image: str) -> dict[str, bytes]:
    """Read an image's users and groups out of a container that is never started."""
    engine = project.engine
    project.temporary_containers.sweep(_PURPOSE, name)

    def make() -> str:
        container = engine.create(image, project.temporary_containers.passing_name(_PURPOSE, name), IDLE)
        project.cleanups.add(name, lambda: engine.remove(container))
        return container

    container = project.maker.make(make)
    try:
        return {path: engine.read_file(container, path) or b"" for path in ("/etc/passwd", "/etc/group")}
    finally:
        project.cleanups.run(name)
