"""What a build of a habitat would run, and why. Changes nothing."""

from __future__ import annotations

from functools import cached_property
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from msgspec import Struct, field

from phases.core.cache import image_index
from phases.core.cache.diff import ABSENT, Difference, differences, told
from phases.protocol import ChangeDescription, SlicePath, dotted
from phases.registry import named

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from phases.core.model import Habitat
    from phases.core.project import Project
    from phases.protocol import Json, Phase


class Reason(Struct, frozen=True):
    """Why a phase would run.

    Args:
        text: The reason for a person.
        key: The changed key of config.yaml, or the changed file; "" for another reason.
        before: The value in the slice of the last build.
        after: The value in the slice of today.
    """

    text: str
    key: str = ""
    before: Json = ABSENT
    after: Json = ABSENT


class Plan(Struct, frozen=True, dict=True):
    """What a build of a habitat would do.

    Args:
        name: The habitat.
        why: Each phase that would run and its own reasons; none if it only runs because a phase before it does.
        seconds: How long phases took the last time, where known.
        is_new: No phase was ever built.
        shared: Phases that would be taken over instead of run, each with the habitat that has the snapshot.
    """

    name: str
    why: Mapping[str, Sequence[Reason]]
    seconds: Mapping[str, float]
    is_new: bool
    shared: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def reasons(self) -> Mapping[str, Sequence[str]]:
        """The texts of `why`."""
        return {phase: [reason.text for reason in reasons] for phase, reasons in self.why.items()}


def plan(project: Project, name: str) -> Plan:
    """Return the plan of a habitat.

    Raises:
        HabitatError: Its config is broken, or the engine fails.
    """
    stale = [named(phase) for phase in project.look(name).stale]
    shared = {phase: other.habitat for phase, other in project.neighbours.shareable(name).items()}
    built = [phase for phase in stale if phase.NAME not in shared]
    seconds = {phase.NAME: taken for phase in built if (taken := _seconds(project, name, phase)) is not None}
    is_new = len(stale) == len(project.phases(name)) and not any(is_known(project, name, phase) for phase in stale)
    texts: set[str] = set()  # of the phases before: a reason is given once
    why = {}
    for phase in stale:
        why[phase.NAME] = [reason for reason in reasons(project, name, phase) if reason.text not in texts]
        texts.update(reason.text for reason in why[phase.NAME])
    return Plan(name, why, seconds, is_new, shared)


def reason(project: Project, name: str, phase: Phase) -> str:
    """Return the first reason why a phase would run, "" if it is up to date."""
    own = reasons(project, name, phase)
    return own[0].text if own else project.look(name).stale.get(phase.NAME, "")


def reasons(project: Project, name: str, phase: Phase) -> list[Reason]:
    """Return why a phase would run; nothing if it only runs because a phase before it does."""
    assessment = project.look(name)
    if phase.NAME not in assessment.stale:
        return []
    forgotten = project.stamps.is_forgotten(image_index.task_name(phase, name))
    own = [Reason(image_index.FORGOTTEN)] if forgotten else []
    if phase.NAME in assessment.changed:
        own += _changes(project, name, phase)
    is_first = next(iter(assessment.stale)) == phase.NAME
    return own or ([Reason(assessment.stale[phase.NAME])] if is_first else [])


def _changes(project: Project, name: str, phase: Phase) -> list[Reason]:
    """Return what has changed in a phase's slice.

    If another clone of the project built the phase, its slice isn't known here, and one reason stands for all.
    """
    habitat = project.habitat(name)
    before = project.slices.kept(name, phase, project.look(name).changed[phase.NAME])
    if before is None:
        return [Reason(image_index.another_config(phase))]
    after = project.slices.today(habitat, phase)
    described = ((change, _describe(habitat, phase, before, after, change)) for change in differences(before, after))
    changes = _outermost([(change, text) for change, text in described if text])
    major = [(change, text) for change, text in changes if not text.minor]
    shown = (Reason(told(change, text), text.name, change.before, change.after) for change, text in major or changes)
    return list({reason.text: reason for reason in shown}.values())


def _describe(
    habitat: Habitat, phase: Phase, before: Json, after: Json, difference: Difference
) -> ChangeDescription | None:
    """Return what a person calls a difference. Secrets have the same form in all slices, so it handles them."""
    slice_ = before if difference.is_removed_element else after
    first, *rest = difference.key
    if first == "secrets" and rest:
        number, *field = rest
        return ChangeDescription(dotted(first, slice_[first][number]["name"], *field))
    return phase.describe_change(SlicePath(habitat, slice_, difference.key))


def _outermost(changes: Sequence[tuple[Difference, ChangeDescription]]) -> list[tuple[Difference, ChangeDescription]]:
    """Leave out the files in folders that were added or removed as a whole."""
    folders = {text.name for change, text in changes if "dir" in (change.before, change.after)}
    return [
        (change, text)
        for change, text in changes
        if text.kind != "file" or folders.isdisjoint(map(str, PurePosixPath(text.name).parents))
    ]


def is_known(project: Project, name: str, phase: Phase) -> bool:
    """Return whether a stamp or a snapshot shows that the phase was built."""
    has_stamp = bool(project.stamps.read(image_index.task_name(phase, name)))
    return has_stamp or bool(project.inventory.tagged(image_index.snapshot_tag(name, phase)))


def _seconds(project: Project, name: str, phase: Phase) -> float | None:
    """Return how long the phase took the last time, None if that isn't known."""
    values = project.stamps.read(image_index.task_name(phase, name)).get("_values_:") or {}
    image = project.inventory.tagged(image_index.snapshot_tag(name, phase))
    texts = (values.get("seconds"), image.labels.get(image_index.LABEL_SECONDS) if image else None)
    return next((number for text in texts if (number := image_index.number(text)) is not None), None)
