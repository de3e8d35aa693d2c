"""Errors about the shell of an image.

Containers idle in /bin/sh, and commands run in it. So a shell that can't run gets an error of its own.
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING

from phases.core.container.init_process import container_ended
from phases.core.copied_files import shown_dockerfile
from phases.core.errors import Conflict, EngineError, ShellError

if TYPE_CHECKING:
    from phases.core.engine.protocol import Engine
    from phases.core.model import Habitat
    from phases.core.origin import Origin

# How engines report that they can't run a program: in the answer, or in the container's log if the kernel refused it.
# The log also has what the dynamic loader, or libc, reports about shared libraries.
_REFUSED = re.compile(r'exec: "/bin/sh": (?:stat /bin/sh: )?(?P<why>[\w ]+)')
_LOGGED = re.compile(
    r"exec /bin/sh: (?P<kernel>.+)|(?:/bin/sh: )?(?P<loader>(?:error while loading|Error loading) shared librar.+)"
)

# The exit code of a command whose container may have ended. The engine reports the end of the container a moment later.
_KILLED = 137


def from_engine_error(
    engine: Engine, container: str, habitat: Habitat, image: str, error: EngineError
) -> ShellError | None:
    """Return the error to raise if the engine failed because the shell can't run, else None.

    Args:
        engine: The engine.
        container: The id of the container.
        habitat: The habitat.
        image: A description of the container's image for a person.
        error: The engine's error, raised before any command ran in the container.
    """
    reason = _reason(engine, container, error)
    return shell_error(engine, container, habitat, image, reason) if reason else None


def shell_error(engine: Engine, container: str, habitat: Habitat, image: str, reason: str) -> ShellError:
    """Return the error for an image whose shell can't run. It names the image's platform if that is the reason."""
    wrong_platform, remedy = "", "use an image whose /bin/sh runs"
    with suppress(EngineError):
        found, platform = engine.container(container), engine.platform()
        config = engine.image_config(found.image) if found else None
        if config and config.platform and not _runs_on(config.platform, platform):
            wrong_platform = f"; it is for {config.platform}, and the engine is {platform}"
            remedy = f"name an image for {platform}"
    return ShellError(
        f"/bin/sh of the image {image} can't run ({reason}){wrong_platform}",
        where=base_image_origin(habitat),
        remedy=remedy,
    )


def base_image_origin(habitat: Habitat) -> Origin | str:
    """Return the place that names the base image of a habitat."""
    return shown_dockerfile(habitat) if habitat.has_dockerfile else habitat.base_origin


def describe_base_image(habitat: Habitat) -> str:
    """Return a description of the base image of a habitat, which completes "the image …"."""
    return f"that {habitat.dockerfile} makes" if habitat.has_dockerfile else habitat.base_image


def _reason(engine: Engine, container: str, error: EngineError) -> str:
    """Return why the shell can't run, "" if the error is about something else."""
    if refused := _REFUSED.search(error.message):
        return refused["why"]
    if not isinstance(error, Conflict):
        return ""
    with suppress(EngineError):
        if container_ended(engine, container, _KILLED) and engine.container(container):
            return reason_in_log(engine.logs(container, 5)) or "it ends at once"
    return ""


def reason_in_log(lines: list[str]) -> str:
    """Return why the shell can't run according to the container's log, "" if the log doesn't tell."""
    found = _LOGGED.search(lines[-1].strip()) if lines else None
    return found["kernel"] or found["loader"] if found else ""


def _runs_on(platform: str, engine: str) -> bool:
    """Return whether the engine's platform runs programs for `platform`, which may name a variant."""
    return platform.split("/")[:2] == engine.split("/")[:2]
