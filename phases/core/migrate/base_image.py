"""Inspect the image that a Dockerfile builds on: its settings, its users and its folders."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from phases.core import events
from phases.core.build.base_image import pull_remedy
from phases.core.container.init_process import IDLE
from phases.core.container.users import UserDatabase
from phases.core.engine.types import ImageConfig
from phases.core.errors import ConfigError, EngineError, EngineUnreachable
from phases.core.files.safe_open import MAX_LINKS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from phases.core.engine.types import PathInfo, Stat
    from phases.core.project import Project

# Part of the names of the containers that this makes.
_PURPOSE = "migrate"


@dataclass(frozen=True)
class BaseImage:
    """An image's settings, users and folders.

    Attributes:
        stat: Stats a path of the image.
        info: Does so with its owner.
    """

    config: ImageConfig
    users: UserDatabase
    stat: Callable[[str], Stat | None] = lambda _: None
    info: Callable[[str], PathInfo | None] = lambda _: None

    def is_folder(self, path: str) -> bool:
        """Return whether a path is a folder, or a link to one."""
        for _ in range(MAX_LINKS):
            status = self.stat(path)
            if status is None or not status.link:
                return status is not None and status.is_dir
            path = status.link
        return False


EMPTY = BaseImage(ImageConfig(""), UserDatabase(lambda _: b""))


@contextmanager
def opened(project: Project, name: str, reference: str, where: str) -> Iterator[BaseImage]:
    """Inspect an image for the habitat `name` meanwhile, pulling it if the engine doesn't have it.

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
    with temporary_container(project, name, config.id, _PURPOSE) as container:
        yield BaseImage(
            config,
            UserDatabase(lambda path: engine.read_file(container, path) or b""),
            cache(lambda path: engine.stat(container, path)),
            cache(lambda path: engine.path_info(container, path)),
        )


@contextmanager
def temporary_container(project: Project, name: str, image: str, purpose: str) -> Iterator[str]:
    """Create a container of an image without starting it, and remove it at the end. purpose: a part of its name."""
    engine = project.engine
    project.temporary_containers.sweep(purpose, name)

    def make() -> str:
        container = engine.create(image, project.temporary_containers.passing_name(purpose, name), IDLE)
        project.cleanups.add(name, lambda: engine.remove(container))
        return container

    container = project.maker.make(make)
    try:
        yield container
    finally:
        project.cleanups.run(name)
