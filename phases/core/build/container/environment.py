"""The environment of a build container, and of the image that is committed from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phases.core.container import root_environment
from phases.core.engine.docker_api.payloads import instruction_word
from phases.core.engine.types import SYSTEM_PATH

if TYPE_CHECKING:
    from collections.abc import Mapping

# Bytes of the environment that a commit can set: one of its lines takes no more, and a request not many such lines.
_MAX_BYTES = 60_000


class BuildEnvironment:
    """The environment of the image that a phase makes, and the part of it that the container has.

    Args:
        env: All variables of the image.

    Attributes:
        of_container: The variables that the container was created with. Each is safe for root (see
            `root_environment`), unless a commit could not restore the image's value.
    """

    def __init__(self, env: Mapping[str, str]) -> None:
        self.all = env
        safe = root_environment.for_container(env, SYSTEM_PATH)
        self.of_container: Mapping[str, str] = {
            **env,
            **{name: value for name, value in safe.items() if _can_be_set(env[name])},
        }

    @property
    def missing(self) -> dict[str, str]:
        """The variables of the image that the container lacks, or has with another value."""
        return self.differing(self.all)

    def differing(self, env: Mapping[str, str]) -> dict[str, str]:
        """Return the variables of `env` that the container lacks, or has with another value."""
        return {name: value for name, value in env.items() if self.of_container.get(name) != value}

    def fits(self, other: Mapping[str, str]) -> bool:
        """Return whether the commit of a container that was created with `other` can set the variables that differ."""
        changed = [value for name, value in self.all.items() if other.get(name) != value]
        size = sum(len(value.encode(errors="replace")) for value in changed)
        return size < _MAX_BYTES and all(map(_can_be_set, changed))

    def changes(self) -> list[str]:
        """Return the lines of a commit that set the variables of the image."""
        # The engine can't unset what the container alone has, such as proxies.
        values = {**{name: "" for name in self.of_container if name not in self.all}, **self.missing}
        return [f"ENV {name}={instruction_word(value)}" for name, value in values.items()]


def _can_be_set(value: str) -> bool:
    """Return whether a line of a commit can hold a value."""
    return len(value) < _MAX_BYTES and value.isprintable()
