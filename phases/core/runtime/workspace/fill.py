"""Fills the new volumes of a habitat's workspaces: from the image, or from a container that has work in their place."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from phases.core import events
from phases.core.cache import image_labels
from phases.core.config.mounts import workspaces
from phases.core.config.mounts.mountable_paths import within
from phases.core.container.init_process import IDLE, replace_container
from phases.core.engine.types import VolumeMount
from phases.core.errors import Conflict
from phases.core.runtime.own_containers import LABEL_CARRIED, own_container
from phases.core.runtime.persistence.volumes import LABEL_WORKSPACE, Workspaces, volumes_of, workspaces_of
from phases.core.runtime.workspace import record
from phases.core.runtime.workspace.record import FILLING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from phases.core.engine.types import Container
    from phases.core.model import Habitat
    from phases.core.project import Project
    from phases.core.runtime.persistence.volumes import Workspace


class WorkspaceFilling:
    """The workspaces of a container that is about to be created. Only one run at a time may fill those of a habitat.

    Args:
        project: The project.
        habitat: The habitat.
        image: The id of the image of the new container.
        entries: The workspaces, as `places` has them.

    Attributes:
        entries: The workspaces.
        label: The label of the new container.
    """

    def __init__(self, project: Project, habitat: Habitat, image: str, entries: tuple[Workspace, ...]) -> None:
        self._project = project
        self._habitat = habitat
        self._folder = project.state_folder(habitat.name)
        self._record = record.read(self._folder)
        self.entries = entries
        existing = {volume.name for volume in volumes_of(project, habitat.name)} if entries else set()
        self._new = [entry for entry in entries if entry.volume not in existing or self._is_half_filled(entry)]
        self._existing = existing
        self._old = own_container(project, habitat.name) if entries else None
        config = project.engine.image_config(image) if self._old else None
        carried = config.labels.get(LABEL_CARRIED, "") if config else ""
        self._is_carried = bool(carried)
        # The image that its files come from at first, though some were changed in a container since.
        self._image = carried.partition(" ")[0] or image
        self.label = {
            LABEL_WORKSPACE: Workspaces(workspaces.candidates(habitat), entries, self._image).label,
        }

    @property
    def is_due(self) -> bool:
        """Whether a volume is to be filled."""
        return bool(self._new)

    def _is_half_filled(self, entry: Workspace) -> bool:
        return self._record.images.get(entry.volume) == FILLING

    def begin(self) -> None:
        """Record which volumes are about to be filled, and fill those that a container has work for."""
        if not self._new:
            return
        for entry in self._new:
            if entry.volume in self._existing:
                with suppress(Conflict):  # a container has it, and so it is not left from a killed start
                    self._project.engine.remove_volume(entry.volume)
            self._record.images[entry.volume] = FILLING
        record.write(self._folder, self._record)
        old = self._old
        if old and (entries := [entry for entry in self._new if _has_work(self._project, old, entry)]):
            if not self._is_carried:
                self._take(old, entries)
            paths = " and ".join(entry.path for entry in entries)
            text = f"the files in {paths} of {old.name} are on a volume now, which rebuilds keep"
            self._project.bus.emit(events.Notice(self._habitat.name, text))

    @property
    def kept(self) -> list[Workspace]:
        """The workspaces whose volumes existed before."""
        return [entry for entry in self.entries if entry not in self._new]

    @property
    def mounts(self) -> list[VolumeMount]:
        """The mounts of the new container. The engine fills volumes that are new by now when it creates it."""
        return [self._mount(entry, copies=self._is_half_filled(entry)) for entry in self.entries]

    def _mount(self, entry: Workspace, *, copies: bool) -> VolumeMount:
        labels = {
            image_labels.LABEL_NAME: self._project.names.of(self._habitat.name),
            **self._project.identity.labels,
            LABEL_WORKSPACE: entry.path,
        }
        return VolumeMount(entry.volume, entry.resolved, labels, copies=copies)

    def finish(self) -> None:
        """Record that the container is created, and its volumes are filled."""
        filled = [entry for entry in self._new if self._is_half_filled(entry)]
        for entry in filled:
            self._record.images[entry.volume] = self._image
        if filled:
            record.write(self._folder, self._record)

    def abandon(self) -> None:
        """Remove the volumes that were filled for a container that no longer exists."""
        for entry in self._new:
            if self._is_half_filled(entry):
                self._project.engine.remove_volume(entry.volume)

    def _take(self, old: Container, entries: Sequence[Workspace]) -> None:
        """Fill volumes with what a container has in their place. It was created without them."""
        engine = self._project.engine
        committed = engine.commit(old.id, ())
        helper, *_ = record.helpers(self._project, self._habitat.name)
        mounts = [self._mount(entry, copies=True) for entry in entries]
        try:
            replace_container(engine, helper, lambda name: engine.create(committed, name, IDLE, mounts=mounts))
        finally:
            engine.remove(helper)
            engine.remove_image(committed)
        for entry in entries:
            self._record.images[entry.volume] = workspaces_of(old).image or old.image
        record.write(self._folder, self._record)


def _has_work(project: Project, old: Container, entry: Workspace) -> bool:
    """Return whether a container has changes in the place of a workspace, on no volume."""
    if any(within(entry.resolved, other.resolved) for other in workspaces_of(old).entries):
        return False
    changes = project.engine.changes(old.id)
    return any(within(change.path, entry.resolved) and change.path != entry.resolved for change in changes)
