"""A phase together with the commands of `hooks:`, and the files of `files:`, that run or are copied next to it.

They are a part of the phase: of its plan, its slice, its time, and of the image that it leaves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from msgspec import Struct

from phases import p08_repos
from phases.core import json_types
from phases.core.hooks import Point
from phases.p06_files import copy_file, describe_file, file_slice
from phases.protocol import ChangeDescription, Run, StartInit, secrets_slice

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from phases.core.hooks import HookCommand, When
    from phases.core.json_types import Json
    from phases.core.model import FileCopy, Habitat
    from phases.protocol import Phase, SlicePath, Step

_WHEN: tuple[When, When] = ("before", "after")


class PhaseWithHooks(Struct, frozen=True):
    """A phase with its hooks. Without any, its slice and its plan are those of the phase alone."""

    ID: int
    NAME: str
    TITLE: str
    DESCRIPTION: str
    SNAPSHOT: bool
    phase: Phase

    @classmethod
    def of(cls, phase: Phase) -> Self:
        """Return a phase with its hooks."""
        return cls(phase.ID, phase.NAME, phase.TITLE, phase.DESCRIPTION, phase.SNAPSHOT, phase)

    def slice(self, habitat: Habitat) -> Json:
        return {**self.phase.slice(habitat), **_additions(habitat, self.NAME)}

    def plan(self, habitat: Habitat) -> Sequence[Step]:
        before, after = (list(_steps(habitat, Point(when, self.NAME))) for when in _WHEN)
        steps = list(self.phase.plan(habitat))
        at = next((number for number, step in enumerate(steps) if isinstance(step, StartInit)), None)
        if at is None:
            return [*before, *steps, *after]
        # Each container of the phase gets what its hooks do.
        first = [*before, *steps[:at], *after] if at else []
        return [*first, steps[at], *before, *steps[at + 1 :], *after]

    def describe_change(self, changed: SlicePath) -> ChangeDescription | None:
        if changed.key[0] != "hooks":
            return self.phase.describe_change(changed)
        _, when, kind, number, *field = changed.key
        point = Point("before" if when == "before" else "after", self.NAME)
        index, run_as = int(number), ".run_as" if field == ["user"] else ""
        if kind == "files":
            return describe_file(changed, _files(changed.habitat, point), index, tuple(field))
        if not changed.is_todays:
            return ChangeDescription(f"hooks, {when} {self.NAME}{run_as}")
        hook = _commands(changed.habitat, point)[index]
        return ChangeDescription(f"{hook.key}{run_as}", origin=hook.command.origin)


def digest(habitat: Habitat, phase: str) -> str:
    """Return a digest of everything that hooks and files add to the slice of a phase, "" if it has none."""
    additions = _additions(habitat, phase)
    return json_types.digest(additions) if additions else ""


def _additions(habitat: Habitat, phase: str) -> Json:
    hooks = _hooks_slice(habitat, phase)
    return {"hooks": hooks, **secrets_slice(habitat, phase)} if hooks else {}


def _hooks_slice(habitat: Habitat, phase: str) -> Json:
    slices = {when: _point_slice(habitat, Point(when, phase)) for when in _WHEN}
    return {when: slice_ for when, slice_ in slices.items() if slice_}


def _files(habitat: Habitat, point: Point) -> list[FileCopy]:
    return [copy for copy in habitat.files if copy.point == point]


def _commands(habitat: Habitat, point: Point) -> list[HookCommand]:
    return [hook for hook in habitat.hooks if hook.point == point]


def _point_slice(habitat: Habitat, point: Point) -> Json:
    files = [file_slice(habitat, copy) for copy in _files(habitat, point)]
    commands = [{"script": hook.command.script, "user": hook.command.user} for hook in _commands(habitat, point)]
    return {**({"files": files} if files else {}), **({"commands": commands} if commands else {})}


def _steps(habitat: Habitat, point: Point) -> Iterator[Step]:
    """Yield the copies first: commands of the same point may use the files."""
    for copy in _files(habitat, point):
        yield copy_file(habitat, copy)
    hooks = _commands(habitat, point)
    for number, hook in enumerate(hooks, start=1):
        what_for = f" ({hook.description})" if hook.description else ""
        title = f"hook {point.when} {point.phase}, command {number} of {len(hooks)}{what_for}"
        env = p08_repos.git_environment(habitat) if point.phase == p08_repos.NAME else {}
        yield Run(hook.command.user, hook.command.script, hook.command.origin, title, env=env)
