"""`doit eject`: a habitat as a folder that `docker build` makes the same image of. Nothing is built."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from phases.core.eject import output_dir
from phases.core.eject.context import File
from phases.core.eject.mounts import VOLUMES, numbered
from phases.core.eject.readme import manual
from phases.core.eject.writer import SCRIPTS, recipe
from phases.core.errors import EngineUnreachable
from phases.core.files import tree
from phases.core.files.ignore import Ignore

if TYPE_CHECKING:
    from collections.abc import Iterator

    from phases.core.model import Habitat
    from phases.core.project import Project

#: Below the project's root, where ejected habitats go unless somebody says otherwise.
DEFAULT = "ejected"

_SCRIPTS = Path(__file__).parent / "scripts"


@dataclass(frozen=True)
class Ejected:
    """place: as a person calls the folder; volumes: whether there are any whose content is not in it."""

    place: str
    volumes: bool


def eject(project: Project, name: str, to: str = "", *, volumes: bool = False) -> Ejected:
    """Write the folder `to`, relative to the project's root. volumes: with copies of them. Raises HabitatError."""
    with contextlib.suppress(EngineUnreachable):
        project.look(name)  # which knows the base image, if only its name is known without
    habitat = project.habitat(name)
    shown = to or f"{DEFAULT}/{name}"
    place = project.root / Path(shown).expanduser()
    output_dir.check(place, shown)
    made = recipe(habitat)
    contents = [
        File("Dockerfile", content=f"{_opening(name)}{made.dockerfile}".encode()),
        File("README.md", content=manual(habitat, made, with_volumes=volumes).encode()),
        *(File(f"{SCRIPTS}/{path.name}", mode=0o755, source=path) for path in sorted(_SCRIPTS.iterdir())),
        *made.context.files,
        *_volumes(habitat, copied=volumes),
    ]
    output_dir.write(place, shown, contents, made.context.archived)
    return Ejected(shown, bool(numbered(habitat)) and not volumes)


def _opening(name: str) -> str:
    return (
        f"# The habitat {name}, as `doit eject:{name}` wrote it. README.md says how to build and run it, with\n"
        "# what no Dockerfile can say: secrets, volumes, limits.\n"
    )


def _volumes(habitat: Habitat, *, copied: bool) -> Iterator[File]:
    """What commands of the build find where a volume is mounted."""
    for number, volume in numbered(habitat):
        place = f"{VOLUMES}/{number}"
        if not copied:
            is_dir = volume.source.is_dir()
            # git takes no empty folder.
            yield File(f"{place}/.gitkeep" if is_dir else place)
            continue
        for item in tree.walk(volume.source, Ignore()):
            path = f"{place}/{item.path}".rstrip("/")
            yield File(path, item.kind, item.mode, item.source, target=item.target)
