"""The config of the image that a phase makes, and how a commit sets it."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from phases.core.build.container.outbox import PendingEntry
from phases.core.container import identity
from phases.core.engine.docker_api.payloads import instruction_word
from phases.core.variables import in_image

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from phases.core.build.container.container import BuildContainer
    from phases.core.engine.types import ImageConfig
    from phases.core.model import Habitat
    from phases.protocol import SetImageConfig

#: Variables that each command gets, but not the image. USER is set there as the config sets it.
NOT_IN_IMAGE = ("USER", "SHELL")

#: The file from which login shells, which don't inherit an image's environment, read it.
PROFILE = "/etc/profile.d/habitat.sh"


def changed(image: ImageConfig, step: SetImageConfig) -> ImageConfig:
    """Return the image's config with the changes of a step."""
    values = {"entrypoint": step.entrypoint, "command": step.command, "user": step.user, "workdir": step.workdir}
    changes: dict[str, Any] = {key: value for key, value in values.items() if value is not None}
    if step.env:
        changes["env"] = resolved_env(image, [step])
    return replace(image, **changes)


def resolved_env(image: ImageConfig, steps: Iterable[SetImageConfig]) -> dict[str, str]:
    """Return the environment of the image with the variables of `steps`, in which `${NAME}` is an earlier variable."""
    env = dict(image.env)
    for step in steps:
        for name, (template, origin) in step.env.items():
            env[name] = in_image(template, env, origin)
    return env


def with_identity(image: ImageConfig, container: BuildContainer, habitat: Habitat, user: str) -> ImageConfig:
    """Return the image's config with the values of `user` for the variables that say who runs a command."""
    present = [name for name in image.env if identity.depends_on_user(name) and name not in NOT_IN_IMAGE]
    if not present:
        return image  # as most images are: nothing has to be read
    values = identity.variables(habitat, container.users, user, image.env)
    changes = {name: values[name] for name in present if name in values}
    container.change_env(changes)
    return replace(image, env={**image.env, **changes})


def profile_names(names: Iterable[str]) -> list[str]:
    """Return those of some variables that the profile sets. A login shell knows itself who its user is."""
    return [name for name in names if name not in identity.ALWAYS]


def add_to_profile(container: BuildContainer, env: Mapping[str, str]) -> None:
    """Write variables into the profile, so that login shells set them, too."""
    lines = "".join(f"export {name}={shlex.quote(env[name])}\n" for name in profile_names(env))
    if not lines:
        return
    content = container.read(PROFILE) + lines.encode()
    container.put(PROFILE, PendingEntry("file", 0o644, (0, 0), content=content))


def commit_changes(image: ImageConfig, labels: Mapping[str, str]) -> list[str]:
    """Return the lines of a commit that set the image's config and labels.

    CMD, ENTRYPOINT, USER and WORKDIR are all set, since the image would otherwise get those of the container. An image
    without a command gets a shell, since the engine ignores an empty CMD.
    """
    command = image.command or (() if image.entrypoint else ("/bin/sh",))
    return [
        f"ENTRYPOINT {json.dumps(list(image.entrypoint))}",
        f"CMD {json.dumps(list(command))}",
        f"USER {instruction_word(image.user or '0')}",
        f"WORKDIR {instruction_word(image.workdir or '/')}",
        *(f"LABEL {name}={instruction_word(value)}" for name, value in labels.items()),
    ]
