"""The keys `before` and `after` of hooks and files: the points of a build."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phases.core.errors import ConfigError, did_you_mean
from phases.core.hooks import Point
from phases.core.json_types import dotted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from phases.core.config import schema
    from phases.core.config.scope import Scope
    from phases.core.hooks import When

# The phases that begin with an image, so that there is none before them.
_DOCKERFILE, _BASE = "dockerfile", "base"


class Points:
    """The points of one habitat's build.

    Args:
        scope: The config.
        phases: The names of all phases.
        has_dockerfile: Whether the habitat is built from a Dockerfile.
    """

    def __init__(self, scope: Scope, phases: Sequence[str], *, has_dockerfile: bool) -> None:
        self._scope = scope
        self._phases = phases
        self._has_dockerfile = has_dockerfile

    def named_by(self, entry: schema.HookKeys | schema.FileKeys, *key: str | int) -> Point | None:
        """Return the point that `before` or `after` of an entry names, None if it has neither. Raises ConfigError."""
        if entry.before and entry.after:
            where = self._scope.at(*key, "after")
            raise ConfigError(f"{dotted(*key)} has both before and after", where=where, remedy="keep one of them")
        when: When = "before" if entry.before else "after"
        phase = entry.before or entry.after
        if not phase:
            return None
        if remedy := self._flaw(when, phase):
            where = self._scope.at(*key, when)
            raise ConfigError(f"{dotted(*key, when)}: {remedy[0]}", where=where, remedy=remedy[1])
        return Point(when, phase)

    def _flaw(self, when: When, phase: str) -> tuple[str, str] | None:
        """Return what is wrong with a point and what to write instead, None if nothing is."""
        if phase not in self._phases:
            return f"there is no phase '{phase}'", did_you_mean(phase, self._phases, in_order=True)
        if phase == _DOCKERFILE and not self._has_dockerfile:
            return "the habitat has no Dockerfile", f"write after: {_BASE}"
        first = _DOCKERFILE if self._has_dockerfile else _BASE
        if (when, phase) == ("before", first):
            return f"there is no image before {first}", f"write after: {first}"
        return None
