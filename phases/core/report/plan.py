"""Find the phases that a build of a habitat would run, and why. Nothing is changed."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from phases.core import command_form
from phases.core.build.shared_builds import SharedSnapshots
from phases.core.build.warnings import before_build
from phases.core.cache import dockerfile_references as references
from phases.core.cache import freshness, image_labels
from phases.core.cache.stamps import task_name
from phases.core.errors import Conflict, printable
from phases.core.events import Plan, Reason
from phases.core.json_types import dotted
from phases.core.report.changes import Difference, describe, differences
from phases.core.runtime.carry import restored, settings
from phases.core.runtime.carry.difference import difference
from phases.core.runtime.own_containers import own_container
from phases.core.runtime.persistence.unkept import work_of
from phases.core.runtime.workspace.notes import notes
from phases.protocol import ChangeDescription, SlicePath
from phases.registry import named

if TYPE_CHECKING:
    from collections.abc import Sequence

    from phases.core.engine.types import Container
    from phases.core.json_types import Json
    from phases.core.model import Habitat
    from phases.core.project import Project
    from phases.core.runtime.carry.difference import ContainerDifference
    from phases.protocol import Phase


def plan(project: Project, name: str, *, with_work: bool = False) -> Plan:
    """Return what the next build of a habitat runs.

    Args:
        project: The project.
        name: The habitat.
        with_work: Whether to look for the work in a container that the next start replaces.

    Raises:
        HabitatError: The config is broken, or the engine refuses a request.
    """
    stale = [named(phase) for phase in project.assessments.look(name).stale]
    shared = {phase: found.habitat for phase, found in SharedSnapshots(project).shareable(name).items()}
    built = [phase for phase in stale if phase.NAME not in shared]
    seconds = {phase.NAME: taken for phase in built if (taken := _seconds(project, name, phase)) is not None}
    is_new = len(stale) == len(project.phases(name)) and not any(is_known(project, name, phase) for phase in stale)
    said: set[str] = set()
    why = {}
    for phase in stale:
        why[phase.NAME] = [reason for reason in reasons(project, name, phase) if reason.text not in said]
        said.update(reason.text for reason in why[phase.NAME])
    replaced, container = _replaced(project, name)
    kept, lacks = "", None
    if with_work and container:
        kept = _kept(project, name, container)
        lacks = None if kept else work_of(project, project.habitat(name), container)
    return Plan(name, why, seconds, is_new, shared, replaced, lacks, kept)


def warnings(project: Project, name: str) -> list[str]:
    """Return what a person has to know about the habitat before a build."""
    text = unread_dockerfile(project, name)
    stale = project.assessments.look(name).stale
    return [*([text] if text else []), *before_build(project.habitat(name), stale), *notes(project, name)]


def unread_dockerfile(project: Project, name: str) -> str:
    """Return that the images of the Dockerfile are not watched, "" if they are or if there is none."""
    habitat = project.habitat(name)
    problem = references.problem(references.dockerfile_text(habitat)) if habitat.has_dockerfile else ""
    if not problem:
        return ""
    return printable(
        f"habitats/{name}/{habitat.dockerfile} can't be read here ({problem}), so nothing is built again when an image "
        f"that it names moves: `{command_form.command('forget', f'dockerfile:{name}')}` builds it"
    )


def _replaced(project: Project, name: str) -> tuple[str, Container | None]:
    """Return why the next start replaces the habitat's container, and that; "" and None if it doesn't."""
    try:
        container = own_container(project, name)
    except Conflict:  # a start says so
        return "", None
    reason = _change(project, name, container).reason if container else ""
    return reason, container if reason else None


def _change(project: Project, name: str, container: Container) -> ContainerDifference:
    image = restored.image_for(project, name, container, project.assessments.look(name).final)
    return difference(project, project.habitat(name), container, image)


def _kept(project: Project, name: str, container: Container) -> str:
    """Return what the next start does to keep the container's files, "" if it doesn't."""
    return settings.effect(project, project.habitat(name), container, _change(project, name, container))


def reason(project: Project, name: str, phase: Phase) -> str:
    """Return the first reason why a phase would run, "" if it is up to date."""
    found = reasons(project, name, phase)
    return found[0].text if found else project.assessments.look(name).stale.get(phase.NAME, "")


def reasons(project: Project, name: str, phase: Phase) -> list[Reason]:
    """Return why a phase would run, nothing if it only follows a phase before it."""
    assessment = project.assessments.look(name)
    if phase.NAME not in assessment.stale:
        return []
    forgotten = project.stamps.is_forgotten(task_name(phase, name))
    found = [Reason(freshness.FORGOTTEN)] if forgotten else []
    if phase.NAME in assessment.changed:
        found += _changes(project, name, phase)
    is_first = next(iter(assessment.stale)) == phase.NAME
    return found or ([Reason(assessment.stale[phase.NAME])] if is_first else [])


def _changes(project: Project, name: str, phase: Phase) -> list[Reason]:
    """Return a reason for each change of a phase's config.

    If another clone of the project built the phase, the config that it was built from is not known.
    """
    habitat = project.habitat(name)
    before = project.slices.kept(name, phase, project.assessments.look(name).changed[phase.NAME])
    if before is None:
        return [Reason(freshness.config_changed(phase))]
    after = project.slices.today(habitat, phase)
    named = ((change, _written(habitat, phase, before, after, change)) for change in differences(before, after))
    found = _outermost([(change, written) for change, written in named if written])
    major = [(change, written) for change, written in found if not written.minor]
    shown = (
        Reason(describe(change, written), written.name, change.before, change.after)
        for change, written in major or found
    )
    return list({reason.text: reason for reason in shown}.values())


def _written(
    habitat: Habitat, phase: Phase, before: Json, after: Json, difference: Difference
) -> ChangeDescription | None:
    """Return a difference as it is in the config. All phases have secrets in the same form."""
    is_todays = not difference.is_removed_element
    slice_ = after if is_todays else before
    first, *rest = difference.key
    if first == "secrets" and rest:
        number, *field = rest
        name = slice_[first][number]["name"]
        origin = next((secret.origin for secret in habitat.secrets if secret.name == name), None)
        return ChangeDescription(dotted(first, name, *field), origin=origin)
    return phase.describe_change(SlicePath(habitat, slice_, difference.key, is_todays))


def _outermost(changes: Sequence[tuple[Difference, ChangeDescription]]) -> list[tuple[Difference, ChangeDescription]]:
    """Return the changes without those inside a folder that was added or removed as a whole."""
    folders = {written.name for change, written in changes if "dir" in (change.before, change.after)}
    return [
        (change, written)
        for change, written in changes
        if written.kind != "file" or folders.isdisjoint(map(str, PurePosixPath(written.name).parents))
    ]


def is_known(project: Project, name: str, phase: Phase) -> bool:
    """Return whether the phase has a stamp or a snapshot, so that it was built before."""
    has_stamp = bool(project.stamps.read(task_name(phase, name)))
    return has_stamp or bool(project.image_index.tagged(image_labels.snapshot_tag(project.names.of(name), phase)))


def _seconds(project: Project, name: str, phase: Phase) -> float | None:
    """Return the seconds that the phase took when it last ran, None if they are unknown."""
    values = project.stamps.read(task_name(phase, name)).get("_values_:") or {}
    image = project.image_index.tagged(image_labels.snapshot_tag(project.names.of(name), phase))
    recorded = (values.get("seconds"), image.labels.get(image_labels.LABEL_SECONDS) if image else None)
    return next((number for text in recorded if (number := image_labels.number(text)) is not None), None)
