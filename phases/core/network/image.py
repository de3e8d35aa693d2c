"""The image of the proxy and of the gates, which the program builds once."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from phases.core import events
from phases.core.errors import EngineError, EngineUnreachable, StartError
from phases.core.files.tar import Archive, DockerfileArchive

if TYPE_CHECKING:
    from phases.core.engine.types import ImageConfig
    from phases.core.project import Project

#: The image to use in place of the program's own.
IMAGE_VARIABLE = "HABITATS_GATE_IMAGE"

_FOLDER = Path(__file__).parent / "image"

# Digits of the digest in the tag.
_DIGITS = 12

# Lines of a failed build that its error shows.
_SHOWN = 3


def image(project: Project, name: str) -> ImageConfig:
    """Return the image. It is built if the engine doesn't have it. name: the habitat that needs it, for messages.

    Raises:
        StartError: It can't be built, or the one that a person names doesn't exist.
    """
    given = os.environ.get(IMAGE_VARIABLE, "")
    tag = given or f"habitat-gate:{_digest()}"
    config = project.engine.image_config(tag)
    if config is None and given:
        problem = f"the engine has no image {given} ({IMAGE_VARIABLE})"
        raise StartError(problem, where=name, remedy=f"docker pull {given}")
    return config or _built(project, name, tag)


def _digest() -> str:
    """Return what changes with any file of the image."""
    digest = hashlib.sha256()
    for path in sorted(_FOLDER.iterdir()):
        digest.update(f"{path.name} {len(data := path.read_bytes())}\n".encode() + data)
    return digest.hexdigest()[:_DIGITS]


def _built(project: Project, name: str, tag: str) -> ImageConfig:
    text = "building the image of the gate, which holds the allowlist: once, about half a minute"
    project.bus.emit(events.Notice(name, text))
    lines: list[str] = []
    with Archive() as archive:
        for path in sorted(_FOLDER.iterdir()):
            archive.add(path.name, "file", 0o755 if path.suffix == ".sh" else 0o644, source=path)
        try:
            project.engine.build(DockerfileArchive(archive.finish()), tag, lines.append)
        except EngineUnreachable:
            raise
        except EngineError as error:
            last = " / ".join(line.strip() for line in lines[-_SHOWN:])
            remedy = f"check the network of the engine, or name an image by {IMAGE_VARIABLE} (see docs/network.md)"
            raise StartError(
                f"the image of the gate can't be built ({error.message}): {last}", where=name, remedy=remedy
            ) from error
    config = project.engine.image_config(tag)
    if config is None:
        raise StartError(f"the image {tag} was removed meanwhile", where=name, remedy="run the same command again")
    return config
