"""Makes the image of a phase its snapshot, in an order that leaves nothing wrong after a kill at any point."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from phases import hooks
from phases.core.cache import dockerfile_images, image_labels
from phases.core.cache.dockerfile_references import dockerfile_text, references
from phases.core.cache.stamps import task_name
from phases.core.errors import HabitatError, SourceChanged
from phases.registry import PHASES, habitat_phases

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from phases.core.build.lock import HeldLocks
    from phases.core.build.shared_builds import SharedSnapshots
    from phases.core.engine.types import Image
    from phases.core.model import Habitat
    from phases.core.project import Project
    from phases.protocol import Phase


class PhaseResult(Struct, frozen=True):
    """The result of a phase, as its stamp has it.

    Args:
        hash: The hash of its slice.
        parent: The id of the image that it started from.
        seconds: How long it took.
    """

    hash: str
    parent: str
    seconds: float

    def values(self) -> dict[str, object]:
        """Return what the stamp has."""
        return {"hash": self.hash, "parent": self.parent, "seconds": round(self.seconds, 3)}


class Publisher:
    """Labels and tags the images of a run, while the run has the build lock."""

    def __init__(self, project: Project, locks: HeldLocks, snapshots: SharedSnapshots) -> None:
        self._project = project
        self._locks = locks
        self._snapshots = snapshots

    def check_lock(self, name: str, phase: Phase, parent: str) -> None:
        """Check that no other run builds the habitat, before containers are made by name or tags are changed.

        Args:
            name: The habitat.
            phase: The phase to be built or published.
            parent: The id of the snapshot that the phase starts from.

        Raises:
            HabitatError: Another run has the lock, or has built the habitat since this run took it.
        """
        project = self._project
        if self._locks.check(name):
            project.assessments.refresh(name)
            if project.assessments.parent_id(name, phase) != parent:
                raise HabitatError(
                    f"another run has built {name} meanwhile",
                    where=f"{name}: {phase.NAME}",
                    remedy="run the same command again",
                )

    def publish(self, name: str, phase: Phase, image: Image | None, parent: str) -> None:
        """Make `image`, which was made from `parent`, the result of a phase, and drop those of later phases.

        image: None for a phase without a snapshot. Stamps go first, then tags; so a kill at any point leaves results
        that are either right or known to be invalid.
        """
        project = self._project
        self.check_lock(name, phase, parent)
        later = project.habitats.phases_from(name, phase)[1:]
        for behind in later:
            project.stamps.drop(task_name(behind, name))
        project.store.untag_failed(name)
        project.store.untag(name, later)
        if image:
            project.store.publish(name, phase, image)
        project.assessments.forget(name)

    def keep_failed(self, name: str, phase: Phase, image: str) -> None:
        """Keep the image of a phase that failed, for `habitat debug`."""
        self._locks.check(name)
        self._project.store.keep_failed(name, phase, image)

    def labels(self, habitat: Habitat, phase: Phase) -> Callable[[str, float], dict[str, str]]:
        """Return a function that makes a snapshot's labels from its parent's id and the seconds that the phase took."""
        project = self._project
        environment = self._snapshots.environment_digest_of(habitat.name, phase) if phase.SNAPSHOT else ""
        images_before = self._dockerfile_images(habitat) if phase.ID == 0 else {}
        project_labels = project.identity.labels

        def labels(parent: str, seconds: float) -> dict[str, str]:
            is_base = phase.ID == 1 and not habitat.has_dockerfile
            if is_base and parent != project.habitat(habitat.name).base_id:
                # The base was pulled just now, or has moved: its id belongs to the slice.
                project.assessments.refresh(habitat.name)
            hashes = project.assess(habitat.name).hashes
            if is_base and parent != project.habitat(habitat.name).base_id:
                raise SourceChanged(habitat.base_origin, f"base image {habitat.base_image} moved during the build")
            phases = habitat_phases(habitat)
            return {
                **{image_labels.hash_label(p): hashes[p.NAME] for p in phases[: phases.index(phase) + 1]},
                **image_labels.labels(project.names.of(habitat.name), phase, parent, seconds),
                **project_labels,
                image_labels.LABEL_ENVIRONMENT_DIGEST: environment,
                **self._label_of_images(habitat, phase, parent, images_before),
                **_label_of_hooks(habitat, phase),
            }

        return labels

    def _label_of_images(
        self, habitat: Habitat, phase: Phase, parent: str, images_before: Mapping[str, str]
    ) -> dict[str, str]:
        """Return the label with the images that the Dockerfile names, which later phases take from their parent."""
        name, index = image_labels.LABEL_DOCKERFILE_IMAGES, self._project.image_index
        if phase.ID == 0:
            # A builder may have pulled an image. If a tag moved during the build, the next run builds again.
            index.refresh()
            after = self._dockerfile_images(habitat)
            return {name: dockerfile_images.label({ref: images_before.get(ref) or after[ref] for ref in after})}
        inherited = index.labels_of(parent).get(name) if habitat.has_dockerfile else ""
        return {name: inherited} if inherited else {}

    def _dockerfile_images(self, habitat: Habitat) -> dict[str, str]:
        names = references(dockerfile_text(habitat), self._project.engine.platform())
        return dockerfile_images.listed_ids(names, self._project.image_index)


def _label_of_hooks(habitat: Habitat, phase: Phase) -> dict[str, str]:
    digest = hooks.digest(habitat, phase.NAME) if phase is PHASES[-1] else ""
    return {image_labels.LABEL_HOOKS: digest} if digest else {}
