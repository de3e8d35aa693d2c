"""The images of habitats on the engine: their tags, and when they go."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from phases.core.cache import image_names
from phases.registry import PHASES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from phases.core.cache.image_index import Inventory
    from phases.core.engine.protocol import Engine, Image
    from phases.protocol import Phase


class ImageStore:
    def __init__(self, engine: Engine, inventory: Inventory) -> None:
        self._engine = engine
        self._inventory = inventory

    def publish(self, name: str, phase: Phase, image: Image) -> None:
        """Move the phase's tag to its new image; the replaced one goes, unless something uses it.

        final has two tags, which are on two images where a run was killed in between.
        """
        tags = [image_names.snapshot_tag(name, phase)]
        if phase.NAME == "final":
            tags.append(image_names.final_tag(name))
        replaced = {old.id for tag in tags if (old := self._inventory.tagged(tag))} - {image.id}
        for tag in tags:
            self._engine.tag(image.id, tag)
        for old_id in replaced:
            self._engine.remove_image(old_id)
        self._inventory.add(replace(image, tags=tuple(tags)))

    def keep_failed(self, name: str, phase: Phase, image: str) -> None:
        """Tag what is left of a phase that failed. One of a habitat is enough, the last."""
        tag = image_names.failed_tag(name, phase)
        before = self._failed(name, PHASES)
        self._engine.tag(image, tag)
        if replaced := before.pop(tag, None):
            self._engine.remove_image(replaced)
        for other in before:
            self._engine.untag(other)
        self._inventory.refresh()

    def untag_failed(self, name: str) -> None:
        """Whatever succeeds has got past what failed, or has changed what that stood on."""
        tags = self._failed(name, PHASES)
        for tag in tags:
            self._engine.untag(tag)
        self._inventory.drop(tags)

    def failed(self, name: str) -> tuple[Phase, Image] | None:
        """The phase that failed last, and what is kept of it."""
        found = ((phase, self._inventory.tagged(image_names.failed_tag(name, phase))) for phase in PHASES)
        return next(((phase, image) for phase, image in found if image), None)

    def withdraw(self, name: str, phases: Sequence[Phase]) -> int:
        """Take the tags of phases away, the last first, and so the images that nothing uses; what is kept
        of those that failed goes as well.

        Returns how many images have none any more: what another habitat shares, or a person has tagged, stays.
        """
        tagged = self._tagged(name, phases)
        going = self._going(tagged)
        for tag in tagged:
            self._engine.untag(tag)
        self._inventory.drop(tagged)
        return going

    def count(self, name: str, phases: Sequence[Phase]) -> int:
        """How many images `withdraw` would take."""
        return self._going(self._tagged(name, phases))

    def _going(self, tagged: Mapping[str, str]) -> int:
        """How many images have no other tags than these."""
        images = set(tagged.values())
        return sum(image.id in images and tagged.keys() >= set(image.tags) for image in self._inventory.all())

    def _tagged(self, name: str, phases: Sequence[Phase]) -> dict[str, str]:
        """Tag to image id, the last first."""
        tags = [image_names.snapshot_tag(name, phase) for phase in reversed(phases) if phase.SNAPSHOT]
        if any(phase.NAME == "final" for phase in phases):
            tags.insert(0, image_names.final_tag(name))
        known = {tag: image.id for tag in tags if (image := self._inventory.tagged(tag))}
        return self._failed(name, phases) | known

    def _failed(self, name: str, phases: Sequence[Phase]) -> dict[str, str]:
        """Tag to image id, of what is kept of phases that failed."""
        tags = [image_names.failed_tag(name, phase) for phase in phases]
        return {tag: image.id for tag in tags if (image := self._inventory.tagged(tag))}

    def is_of(self, name: str, image: str) -> bool:
        """Whether the habitat has the image with that id, or had it until it was replaced."""
        tags = next((known.tags for known in self._inventory.all() if known.id == image), ())
        if tags:
            return any(tag.startswith(f"{image_names.repository(name)}:") for tag in tags)
        return self._inventory.labels_of(image).get(image_names.LABEL_NAME) == name and self._is_committed_here(image)

    def has_untagged(self, name: str) -> bool:
        """Whether there may be something to sweep."""
        return bool(self._untagged(name))

    def _untagged(self, name: str) -> list[Image]:
        """The habitat's, and what a person made from its snapshots, which has their labels."""
        images = self._inventory.all()
        return [image for image in images if not image.tags and image.labels.get(image_names.LABEL_NAME) == name]

    def sweep(self, name: str) -> None:
        """Remove images of the habitat that have no tag and no user: replaced ones, a killed run's."""
        self._inventory.refresh()
        if self._inventory.tagged(image_names.dockerfile_tag(name)):
            self._engine.untag(image_names.dockerfile_tag(name))
            self._inventory.refresh()
        for image in self._untagged(name):
            if self._is_committed_here(image.id):
                self._engine.remove_image(image.id)

    def _is_committed_here(self, image: str) -> bool:
        """Unlike the labels, the comment is not inherited by what a person commits or builds from a snapshot."""
        config = self._engine.image_config(image)
        return config is not None and config.comment == image_names.COMMENT
