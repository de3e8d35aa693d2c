"""`habitat eject`: write a folder from which `docker build` makes the same image as a habitat's build."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from phases.core.eject import output_dir
from phases.core.eject.context import ContextFile
from phases.core.eject.instructions import SCRIPTS
from phases.core.eject.mounts import VOLUMES, numbered_volumes
from phases.core.eject.readme import readme
from phases.core.eject.writer import write_dockerfile
from phases.core.errors import ConfigError, EngineError, EngineUnreachable, StateError
from phases.core.files import tree
from phases.core.files.ignore import Ignore

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from phases.core.model import Habitat
    from phases.core.project import Project

#: The folder for ejected habitats, below the project's root.
DEFAULT = "ejected"

_SCRIPTS = Path(__file__).parent / "scripts"


@dataclass(frozen=True)
class Ejected:
    """The result of `habitat eject`.

    Attributes:
        folder: The folder, as messages show it.
        lacks_volumes: Whether the habitat has volumes whose content is not in the folder.
    """

    folder: str
    lacks_volumes: bool


def eject(project: Project, name: str, to: str = "", *, volumes: bool = False) -> Ejected:
    """Write a habitat as a Dockerfile with its context; builds nothing.

    Args:
        project: The project.
        name: The habitat.
        to: The folder to write, relative to the project's root; "" for ejected/NAME.
        volumes: Whether to copy the content of volumes.

    Raises:
        HabitatError: No Dockerfile can express the habitat, or the folder can't be written.
    """
    habitat, base_env = _habitat_and_base_env(project, name)
    shown = to or f"{DEFAULT}/{name}"
    place = project.root / _expanded(shown)
    output_dir.check(place, shown)
    _check_triggers(project, habitat)
    build = write_dockerfile(habitat, base_env)
    contents = [
        ContextFile("Dockerfile", content=f"{_head(name)}{build.dockerfile}".encode()),
        ContextFile("README.md", content=readme(habitat, build, has_volumes=volumes).encode()),
        *(ContextFile(f"{SCRIPTS}/{path.name}", mode=0o755, source=path) for path in sorted(_SCRIPTS.iterdir())),
        *([ContextFile(f"{SCRIPTS}/home-of", content=habitat.user.encode())] if "HOME" in habitat.env.values else []),
        *build.context.files,
        *_volumes(habitat, copied=volumes),
    ]
    output_dir.write(place, shown, contents, build.context.archived)
    return Ejected(shown, bool(numbered_volumes(habitat)) and not volumes)


def _expanded(shown: str) -> Path:
    try:
        return Path(shown).expanduser()
    except RuntimeError as error:
        remedy = "write --to with a path of a folder, absolute or relative to the project"
        raise StateError(f"no user has the home folder {shown}", remedy=remedy) from error


def _habitat_and_base_env(project: Project, name: str) -> tuple[Habitat, Mapping[str, str]]:
    """Return the habitat, and the environment of its base image as far as the engine knows it."""
    env: Mapping[str, str] = {}
    with contextlib.suppress(EngineUnreachable):
        base = project.assessments.look(name).images.get("base")  # this also finds the base image's id, for a comment
        habitat = project.habitats.for_others(name)
        if reference := base or habitat.base_id or habitat.base_image:
            config = project.engine.image_config(reference)
            env = config.env if config else {}
    return project.habitats.for_others(name), env


def _check_triggers(project: Project, habitat: Habitat) -> None:
    """Check that the base image has no ONBUILD, as far as the engine can say.

    Raises:
        ConfigError: It has: `docker build` would run that, and the habitat's build doesn't.
    """
    config = None
    if not habitat.has_dockerfile:
        with contextlib.suppress(EngineError):
            config = project.engine.image_config(habitat.base_image)
    if config and config.on_build:
        raise ConfigError(
            f"{habitat.base_image} has ONBUILD {config.on_build[0]}, which docker build would run, and no habitat does",
            where=habitat.base_origin,
            remedy="name an image without ONBUILD",
        )


def _head(name: str) -> str:
    return (
        f"# `habitat eject {name}` wrote this from the habitat {name}. README.md says how to build and run it, with\n"
        "# the secrets, volumes and limits that no Dockerfile can express.\n"
    )


def _volumes(habitat: Habitat, *, copied: bool) -> Iterator[ContextFile]:
    """Yield what commands of the build see where a volume is mounted."""
    for number, volume in numbered_volumes(habitat):
        place = f"{VOLUMES}/{number}"
        if not copied:
            is_dir = volume.source.is_dir()
            # git keeps no empty folder.
            yield ContextFile(f"{place}/.gitkeep" if is_dir else place)
            continue
        for item in tree.walk(volume.source, Ignore(), exact=True):
            path = f"{place}/{item.path}".rstrip("/")
            yield ContextFile(path, item.kind, item.mode, item.source, target=item.target)
