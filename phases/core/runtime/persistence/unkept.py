"""Finds the work in a container that no volume keeps: its changed files, and the work in its repositories."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from phases.core.config.mounts.mountable_paths import within
from phases.core.errors import EngineUnreachable, HabitatError, printable
from phases.core.events.work import ContainerWork, RepositoryWork
from phases.core.runtime.carry.changes import changes_since_build
from phases.core.work import places, repositories
from phases.core.work.states import shown

if TYPE_CHECKING:
    from collections.abc import Collection

    from phases.core.engine.types import Container
    from phases.core.model import Habitat
    from phases.core.project import Project
    from phases.core.runtime.carry.changes import UnkeptChanges
    from phases.core.work.states import RepositoryState


def own_changes(project: Project, habitat: Habitat, container: Container) -> UnkeptChanges:
    """Return the changes in a container that no volume keeps and no start makes again.

    Raises:
        HabitatError: They can't be listed.
    """
    changes = changes_since_build(project.engine, container)
    if not habitat.entry.files:
        return changes
    from phases.core.runtime.session import entry_files  # imported late: many habitats have none

    copied = entry_files.paths_in(project, habitat, container)  # each start copies them again
    return changes.without(copied)


def work_of(project: Project, habitat: Habitat, container: Container) -> ContainerWork:
    """Return the work that a container has (see `work_in`), or why its changes can't be listed."""
    try:
        changes = own_changes(project, habitat, container)
        return work_in(project, habitat, container, changes).work
    except EngineUnreachable:
        raise
    except HabitatError as error:
        return ContainerWork(problem=error.message)


class Unkept(NamedTuple):
    """The work that would be lost with a container. others: the changes that are in no repository."""

    work: ContainerWork
    others: UnkeptChanges


def work_in(
    project: Project, habitat: Habitat, container: Container, changes: UnkeptChanges, removed: Collection[str] = ()
) -> Unkept:
    """Return the work that a container has.

    A container that runs is asked with one command for the repositories of each owner. For another one a temporary
    container is started, but only if it has changes in a repository, or volumes with repositories that are asked for.

    Args:
        project: The project.
        habitat: The habitat.
        container: The container.
        changes: Its `own_changes`.
        removed: The names of its volumes whose repositories count, too.
    """
    own = places.changed_repositories(project, habitat, container, changes.changes, is_whole=not changes.more)
    problem = ""
    states: list[RepositoryState] = []
    if own or places.may_have_work(project, habitat, container, removed):
        try:
            with places.place_to_read(project, habitat, container, own_files=bool(own)) as place:
                states = repositories.states(project, habitat, place)
        except EngineUnreachable:
            raise
        except HabitatError as error:
            problem = error.message
    inside = [state.path for state in states] + own
    others = [change for change in changes.changes if not any(within(change.path, path) for path in inside)]
    counted = [state for state in states if _counts(container, state, removed)]
    work = ContainerWork(len(others) + changes.more, [*map(_summary, counted)], problem)
    return Unkept(work, replace(changes, changes=tuple(others)))


def _counts(container: Container, state: RepositoryState, removed: Collection[str]) -> bool:
    """Return whether a repository has work that would be lost."""
    return not (state.is_clean or state.is_missing or places.is_kept(container, state.path, removed))


def _summary(state: RepositoryState) -> RepositoryWork:
    return RepositoryWork(
        state.path,
        state.branch,
        state.unpushed,
        state.stashes,
        len(state.changed) + len(state.untracked),
        state.has_more,
        state.operation,
        state.problem,
    )


def describe(work: ContainerWork, workdir: str = "") -> str:
    """Return the work in words, "" if there is none. Paths below `workdir` are shortened."""
    # Those about which nothing is known but a problem come last.
    known = sorted(work.repositories, key=lambda row: not (row.unpushed or row.stashes or row.changed or row.operation))
    parts = [_described(repository, workdir) for repository in known]
    if work.problem:
        parts.append(f"what can't be read ({printable(work.problem)})")
    if work.files:
        parts.append(f"{_count(work.files, 'changed file')} outside kept paths")
    return ", ".join(parts)


def _described(work: RepositoryWork, workdir: str) -> str:
    counts = [
        _count(work.unpushed, "unpushed commit"),
        _count(work.stashes, "stash"),
        ("more than " if work.has_more else "") + _count(work.changed, "changed file"),
        f"a {work.operation} that was begun" if work.operation else "",
    ]
    path = work.path.removeprefix(f"{workdir.rstrip('/')}/") if workdir else work.path
    name = shown(path) + (f" ({shown(work.branch)})" if work.branch else "")
    text = " and ".join(filter(None, (", ".join(filter(None, counts[:-1])), counts[-1])))
    problem = printable(work.problem) if work.problem else ""
    return f"{text} in {name}" + (f" ({problem})" if problem else "") if text else f"what is in {name} ({problem})"


def _count(number: int, noun: str) -> str:
    if not number:
        return ""
    return f"{number} {noun}{'' if number == 1 else 'es' if noun.endswith('sh') else 's'}"
