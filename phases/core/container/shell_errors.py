"""The shell of an image: containers idle in it and run commands by it, so one that can't run is told of as such."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING

from phases.core.container.init_process import ended_under
from phases.core.errors import Conflict, EngineError, ShellError

if TYPE_CHECKING:
    from phases.core.engine.protocol import Engine
    from phases.core.model import Habitat
    from phases.core.origin import Origin

# How engines say that the program they were to start can't be: in a refusal, or, where the kernel said it, in the
# container's log. What a dynamic loader, or a libc, says of the programs' libraries is there as well.
_REFUSED = re.compile(r'exec: "/bin/sh": (?:stat /bin/sh: )?(?P<why>[\w ]+)')
_LOGGED = re.compile(
    r"exec /bin/sh: (?P<kernel>.+)|(?:/bin/sh: )?(?P<loader>(?:error while loading|Error loading) shared librar.+)"
)


# The exit code of a command whose container may have ended, of which the engine tells a moment later.
_KILLED = 137


def trouble(engine: Engine, container: str, habitat: Habitat, image: str, error: EngineError) -> ShellError | None:
    """What to raise for `error`, met before any command ran in the container; None where it isn't about the shell.

    image: what the container was made from, as a person would call it.
    """
    why = _why(engine, container, error)
    return broken(engine, container, habitat, image, why) if why else None


def broken(engine: Engine, container: str, habitat: Habitat, image: str, why: str) -> ShellError:
    """The error of an image whose shell can't run, with the processor that it is for where that is another one's."""
    wrong, remedy = "", "have one whose shell runs"
    with suppress(EngineError):
        found, now = engine.container(container), engine.platform()
        config = engine.image_config(found.image) if found else None
        if config and config.platform and not _is_for(config.platform, now):
            wrong, remedy = f"; it is for {config.platform}, and the engine is {now}", f"name an image for {now}"
    return ShellError(f"/bin/sh of the image {image} can't run ({why}){wrong}", where=place(habitat), remedy=remedy)


def place(habitat: Habitat) -> Origin | str:
    """Where the image is named that a habitat begins with."""
    return f"habitats/{habitat.name}/{habitat.dockerfile}" if habitat.has_dockerfile else habitat.base_origin


def beginning(habitat: Habitat) -> str:
    """The image that a habitat begins with, as a person would call it."""
    return f"that {habitat.dockerfile} makes" if habitat.has_dockerfile else habitat.base_image


def _why(engine: Engine, container: str, error: EngineError) -> str:
    if refused := _REFUSED.search(error.message):
        return refused["why"]
    if not isinstance(error, Conflict):
        return ""
    with suppress(EngineError):
        if ended_under(engine, container, _KILLED) and engine.container(container):
            return logged(engine.logs(container, 5)) or "it ends at once"
    return ""


def logged(lines: list[str]) -> str:
    """What a container's log says of a shell that couldn't run, "" where it doesn't."""
    found = _LOGGED.search(lines[-1].strip()) if lines else None
    return found["kernel"] or found["loader"] if found else ""


def _is_for(platform: str, engine: str) -> bool:
    """Return whether programs for a platform, which may have a variant, are for the engine's."""
    return platform.split("/")[:2] == engine.split("/")[:2]
