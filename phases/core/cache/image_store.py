"""Tag, untag and remove the images of habitats on the engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from phases.core.cache import image_labels
from phases.registry import PHASES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from phases.core.cache.engine_names import EngineNames
    from phases.core.cache.image_index import ImageIndex
    from phases.core.cache.removals import ImageRemovals
    from phases.core.engine.protocol import Engine
    from phases.core.engine.types import Image
    from phases.protocol import Phase


class ImageStore:
    """Tags, untags and removes the images of a project's habitats, and keeps `image_index` up to date.

    Args:
        engine: The engine.
        image_index: The images of the engine.
        removals: Removes images in the background.
        names: The names of the habitats on the engine.
    """

    def __init__(self, engine: Engine, image_index: ImageIndex, removals: ImageRemovals, names: EngineNames) -> None:
        self._engine = engine
        self._image_index = image_index
        self._removals = removals
        self._names = names

    def publish(self, name: str, phase: Phase, image: Image) -> None:
        """Move a phase's tag to its new image, and remove the replaced image unless something uses it.

        The last phase has two tags. They are on two images if a run was killed while it moved them.
        """
        tags = [image_labels.snapshot_tag(self._names.of(name), phase)]
        if phase.NAME == "final":
            tags.append(image_labels.final_tag(self._names.of(name)))
        replaced = {old.id for tag in tags if (old := self._image_index.tagged(tag))} - {image.id}
        for tag in tags:
            self._engine.tag(image.id, tag)
        for old_id in replaced:
            self._removals.remove(old_id)
        self._image_index.add(replace(image, tags=tuple(tags)))

    def keep_failed(self, name: str, phase: Phase, image: str) -> None:
        """Tag the image of a failed phase. A habitat keeps one such image, of the last failure."""
        tag = image_labels.failed_tag(self._names.of(name), phase)
        before = self._failed(name, PHASES)
        self._engine.tag(image, tag)
        if replaced := before.pop(tag, None):
            self._engine.remove_image(replaced)
        for other in before:
            self._engine.untag(other)
        self._image_index.refresh()

    def untag_failed(self, name: str) -> None:
        """Untag the image of a failed phase, after a phase succeeded: the failure is out of date then."""
        tags = self._failed(name, PHASES)
        for tag in tags:
            self._engine.untag(tag)
        self._image_index.drop(tags)

    def failed(self, name: str) -> tuple[Phase, Image] | None:
        """Return the phase that failed last and its image; None if no image is kept."""
        tags = ((phase, image_labels.failed_tag(self._names.of(name), phase)) for phase in PHASES)
        kept = ((phase, self._image_index.tagged(tag)) for phase, tag in tags)
        return next(((phase, image) for phase, image in kept if image), None)

    def untag(self, name: str, phases: Sequence[Phase]) -> int:
        """Remove the tags of phases, from the last to the first, and of their failed images.

        The engine removes each image that has no tag left. Images that another habitat shares, or that a person has
        tagged, stay.

        Returns:
            How many images have no tag left.

        """
        tagged = self._tagged(name, phases)
        count = self._count_untagged(tagged)
        images = {image.id: set(image.tags) for image in self._image_index.all()}
        last = (image for image in dict.fromkeys(tagged.values()) if images.get(image, set()) <= tagged.keys())
        with self._removals.of_untagged(self._names.of(name), list(last)):
            for tag in tagged:
                self._engine.untag(tag)
        self._image_index.drop(tagged)
        return count

    def count(self, name: str, phases: Sequence[Phase]) -> int:
        """Return how many images would have no tag left after `untag`."""
        return self._count_untagged(self._tagged(name, phases))

    def _count_untagged(self, tagged: Mapping[str, str]) -> int:
        """Return how many images have no other tags than these."""
        images = set(tagged.values())
        return sum(image.id in images and tagged.keys() >= set(image.tags) for image in self._image_index.all())

    def _tagged(self, name: str, phases: Sequence[Phase]) -> dict[str, str]:
        """Return the tags of phases, from the last to the first, with the ids of their images."""
        tags = [image_labels.snapshot_tag(self._names.of(name), phase) for phase in reversed(phases) if phase.SNAPSHOT]
        if any(phase.NAME == "final" for phase in phases):
            tags.insert(0, image_labels.final_tag(self._names.of(name)))
        known = {tag: image.id for tag in tags if (image := self._image_index.tagged(tag))}
        return self._failed(name, phases) | known

    def _failed(self, name: str, phases: Sequence[Phase]) -> dict[str, str]:
        """Return the tags of failed phases, with the ids of their images."""
        tags = [image_labels.failed_tag(self._names.of(name), phase) for phase in phases]
        return {tag: image.id for tag in tags if (image := self._image_index.tagged(tag))}

    def is_of(self, name: str, image: str) -> bool:
        """Return whether the image with this id belongs to the habitat, or belonged to it until it was replaced."""
        engine_name = self._names.of(name)
        tags = next((known.tags for known in self._image_index.all() if known.id == image), ())
        if tags:
            return any(tag.startswith(f"{image_labels.repository(engine_name)}:") for tag in tags)
        labels = self._image_index.labels_of(image)
        return labels.get(image_labels.LABEL_NAME) == engine_name and self._is_committed_here(image)

    def has_untagged(self, name: str) -> bool:
        """Return whether `sweep` may find something to remove."""
        return bool(self._untagged(name)) or self._removals.are_left(self._names.of(name), self._image_index.all())

    def _untagged(self, name: str) -> list[Image]:
        """Return the untagged images with the habitat's label. An image that a person made from one has it, too."""
        return [
            image for image in self._image_index.all() if not image.tags and self._names.is_label(name, image.labels)
        ]

    def sweep(self, name: str) -> None:
        """Remove the habitat's images that have no tag and no container: replaced ones, and those of killed runs.

        Raises:
            Conflict: Another project has built images under the habitat's name.
        """
        self._image_index.refresh()
        self._names.check(name)
        if self._image_index.tagged(image_labels.dockerfile_tag(self._names.of(name))):
            self._engine.untag(image_labels.dockerfile_tag(self._names.of(name)))
            self._image_index.refresh()
        self._removals.resume(self._names.of(name), self._image_index.all())
        for image in self._untagged(name):
            if self._is_committed_here(image.id):
                self._removals.remove(image.id)

    def _is_committed_here(self, image: str) -> bool:
        """Return whether this program committed an image. An image made from it does not inherit its comment."""
        config = self._engine.image_config(image)
        return config is not None and config.comment == image_labels.COMMENT
