"""What an image is, that a Dockerfile begins with: its user, variables and command, and who lives in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from phases.core import events
from phases.core.build.base_image import pull_remedy
from phases.core.container.init_process import IDLE
from phases.core.container.users import UserDatabase
from phases.core.engine.protocol import ImageConfig
from phases.core.errors import ConfigError, EngineError, EngineUnreachable

if TYPE_CHECKING:
    from phases.core.project import Project

# Stands in the names of containers that are looked into.
_PURPOSE = "migrate"


@dataclass(frozen=True)
class BaseImage:
    """users: of which it can be asked whether a name is in."""

    config: ImageConfig
    users: UserDatabase


EMPTY = BaseImage(ImageConfig(""), UserDatabase(lambda _: b""))


def look(project: Project, name: str, reference: str, where: str) -> BaseImage:
    """Look at an image for the habitat `name`; it is pulled where the engine doesn't have it, as building
    the habitat would. Raises EngineError.
    """
    engine = project.engine
    try:
        config = engine.image_config(reference)
    except EngineUnreachable:
        raise
    except EngineError as error:
        remedy = "mend it, or give its ARG a value: --arg NAME=VALUE"
        raise ConfigError(f"FROM names {reference!r}, which is no image", where=where, remedy=remedy) from error
    if config is None:
        project.bus.emit(events.Notice(name, f"pulling {reference}, to see its user, variables and command"))
        try:
            engine.pull(reference, lambda *_: None)
            config = engine.image_config(reference)
        except EngineUnreachable:
            raise
        except EngineError as error:
            remedy = pull_remedy(reference, error.message)
            raise EngineError(f"{reference} can't be pulled ({error.message})", where=where, remedy=remedy) from error
    if config is None:
        raise EngineError(f"{reference} is not on the engine", where=where, remedy="run the same again")
    found = _read(project, name, config.id)
    return BaseImage(config, UserDatabase(lambda path: found.get(path, b"")))


def _read(project: Project, name: str, image: str) -> dict[str, bytes]:
    """The files that say who lives in an image. They come out of a container only, which is never started."""
    engine = project.engine
    project.scratch.sweep(_PURPOSE, name)

    def make() -> str:
        container = engine.create(image, project.scratch.passing_name(_PURPOSE, name), IDLE)
        project.open_ends[name] = lambda: engine.remove(container)
        return container

    container = project.maker.make(make)
    try:
        return {path: engine.read_file(container, path) or b"" for path in ("/etc/passwd", "/etc/group")}
    finally:
        if remove := project.open_ends.pop(name, None):
            remove()
