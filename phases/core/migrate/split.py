"""`habitat migrate --split`: build a habitat in the order of its Dockerfile and split, and compare the images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from phases.core import command_form
from phases.core.build.builder import Builder
from phases.core.cache.stamps import task_name
from phases.core.errors import HabitatError
from phases.core.migrate import command
from phases.core.migrate.image_comparison import contents, differences

if TYPE_CHECKING:
    from collections.abc import Mapping

    from phases.core.migrate.command import Migration
    from phases.core.project import Project


@dataclass(frozen=True)
class Split:
    """The result of a migration that splits.

    Attributes:
        migration: The migration that was written.
        differences: A line for each difference between the images, None if there was nothing to split.
    """

    migration: Migration
    differences: list[str] | None


def split(project: Project, name: str, build_args: Mapping[str, str]) -> Split | None:
    """Migrate a habitat in the order of its Dockerfile and split, build both, and compare the images.

    Returns:
        None where there is nothing to migrate.

    Raises:
        HabitatError: One of them can't be built. If it is the split one, the other stays.
    """
    in_order = command.migrate(project, name, build_args)
    if in_order is None:
        return None
    divided = command.migrate(project, name, build_args, splits=True)
    command.write(project, in_order)
    if divided is None or in_order.problems or _count_in_dockerfile(divided) >= _count_in_dockerfile(in_order):
        return Split(in_order, None)
    before = contents(project, name, _build(project, name))
    try:
        command.write(project, divided)
        after = contents(project, name, _build(project, name))
    except BaseException as error:  # an interrupt, too, leaves nothing that was not compared
        command.write(project, in_order)
        if not in_order.rest:
            command.restore_rest(divided)
        if not isinstance(error, HabitatError):
            raise
        raise HabitatError(
            f"split, it can't be built, so the files keep the order of the Dockerfile ({error})",
            where=name,
            remedy=f"`{command_form.verb('start', name)}` builds it without --split",
        ) from error
    return Split(divided, differences(before, after))


def _count_in_dockerfile(migration: Migration) -> int:
    """Return how many instructions stay in a Dockerfile."""
    return sum(row.place.startswith("Dockerfile") for row in migration.rows)


def _build(project: Project, name: str) -> str:
    """Build all phases of a habitat by its files of now. Returns the id of its image. Raises HabitatError."""
    fresh = project.fresh_copy()
    builder = Builder(fresh)
    try:
        for phase in fresh.phases(name):
            if phase.NAME in fresh.assess(name).stale:
                fresh.stamps.write(task_name(phase, name), {"_values_:": builder.build(name, phase).values()})
        return fresh.assess(name).final
    finally:
        builder.close()
