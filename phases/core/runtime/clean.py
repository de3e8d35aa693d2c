"""Removes what was built of habitats, and nothing that a person made."""

from __future__ import annotations

import contextlib
import shutil
from typing import TYPE_CHECKING

from phases.core.build import cache_volumes
from phases.core.build.lock import exclusive
from phases.core.cache import image_labels
from phases.core.cache.engine_names import RECORD
from phases.core.cache.stamps import state_dir
from phases.core.cache.temporary_containers import is_of_another
from phases.core.errors import state_error
from phases.core.runtime import own_containers
from phases.core.runtime.carry import restored
from phases.core.runtime.persistence.volumes import volumes_of
from phases.core.runtime.person import agent_folder
from phases.core.runtime.session.presence import Presence
from phases.core.runtime.workspace import record as workspace_record
from phases.core.secrets import fingerprints
from phases.protocol import slug
from phases.registry import PHASES

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from phases.core.project import Project
    from phases.protocol import Phase


def cleanable(project: Project) -> list[str]:
    """Return the names of all habitats, and of removed ones that left files in .stamps/."""
    return sorted({*project.habitats.names, *project.habitats.removed})


def containers_of(project: Project, name: str) -> tuple[list[str], list[str]]:
    """Return the names of the habitat's containers, and of others that a person made from its images.

    Build containers don't count, nor do temporary containers of another habitat that shares an image, nor containers
    of an image that a person made from one of the habitat's, which has its labels.
    """
    own = {container.name for container in own_containers.containers(project, name)}
    builds = {container.id for container in project.temporary_containers.builds(name)}
    labelled = project.engine.containers(label=f"{image_labels.LABEL_NAME}={project.names.of(name)}")
    others = [c for c in labelled if c.id not in builds and c.name not in own and not is_of_another(c.name, name)]
    return sorted(own), sorted(c.name for c in others if project.store.is_of(name, c.image))


def count(project: Project, name: str, first: Phase | None) -> int:
    """Return how many images `clean_from` would remove, or `clean_all` if `first` is None."""
    project.names.check(name)
    return project.store.count(name, project.habitats.phases_from(name, first) if first else PHASES)


def clean_from(project: Project, name: str, first: Phase) -> int:
    """Remove the snapshot of a phase and all that rest on it, with stamps, slices and logs.

    Returns how many images were removed.
    """
    gone = project.habitats.phases_from(name, first)
    with exclusive(project, name):
        images = project.store.untag(name, gone)
        project.store.sweep(name)
        for phase in gone:
            _discard(state_dir(project.root, name).glob(f"{slug(phase)}.*"))
    project.connection.wait_for_tasks()
    return images


def clean_all(project: Project, name: str) -> int:
    """Remove everything of a habitat but the containers a person started, and caches. Return how many images."""
    folder = state_dir(project.root, name)
    with exclusive(project, name):
        images = project.store.untag(name, PHASES)
        if project.image_index.listed_id(tag := workspace_record.tag(project, name)):
            project.engine.untag(tag)
        project.store.sweep(name)
        ours = own_containers.containers(project, name)
        Presence(project.state_folder(name)).discard(container.id for container in ours if container.running)
        _discard(path for path in folder.iterdir() if not _stays(path))
        fingerprints.sweep(folder, project.engine)
    if not ours:
        _discard([folder / restored.RECORD])
    project.connection.wait_for_tasks()
    # The folder says that this project had the habitat, as long as its containers and volumes are there.
    if not ours and not volumes_of(project, name):
        project.names.forget(name)
        _discard([folder / workspace_record.RECORD])
        shutil.rmtree(folder / agent_folder.STATE_FOLDER, ignore_errors=True)
        with contextlib.suppress(OSError):  # the folder isn't empty: a start has its files in it
            folder.rmdir()
    return images


def _stays(path: Path) -> bool:
    """Return whether a file in a habitat's state folder is about its name, its containers or caches, which stay."""
    if path.name in (RECORD, workspace_record.RECORD, restored.RECORD, agent_folder.STATE_FOLDER):
        return True
    return path.name.startswith("starts") or fingerprints.is_record(path) or cache_volumes.is_record(path)


def count_caches(project: Project) -> int:
    """Return how many caches `clean_caches` would remove."""
    recorded = (cache_volumes.recorded(state_dir(project.root, name)) for name in cleanable(project))
    return len(cache_volumes.unused(project.engine, set().union(*recorded)))


def clean_caches(project: Project) -> int:
    """Remove the caches that builds of the project's habitats have had and nobody uses. Return how many."""
    count = 0
    for name in cleanable(project):
        folder = state_dir(project.root, name)
        if cache_volumes.recorded(folder):
            with exclusive(project, name):
                count += cache_volumes.prune(project.engine, folder)
    return count


def _discard(paths: Iterable[Path]) -> None:
    for path in paths:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise state_error(path, "removed", error) from error
