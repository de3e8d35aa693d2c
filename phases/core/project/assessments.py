"""The assessments of a project's habitats, kept until one of their phases has run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phases.core.cache import freshness, image_labels
from phases.core.errors import ConfigError, EngineError, EngineUnreachable, HabitatError
from phases.registry import habitat_phases, last_snapshot, named

if TYPE_CHECKING:
    from collections.abc import Callable

    from phases.core.cache.engine_names import EngineNames
    from phases.core.cache.freshness import Assessment
    from phases.core.cache.image_index import ImageIndex
    from phases.core.cache.slices import SliceStore
    from phases.core.cache.stamps import Stamps
    from phases.core.model import Habitat
    from phases.core.project.habitats import Habitats
    from phases.protocol import Phase


class Assessments:
    """The assessments of one run.

    Args:
        habitats: The habitats.
        slices: Keeps their slices.
        stamps: The records of doit.
        image_index: Returns the images of the engine.
        names: The names of the habitats on the engine.
    """

    def __init__(
        self,
        habitats: Habitats,
        slices: SliceStore,
        stamps: Stamps,
        image_index: Callable[[], ImageIndex],
        names: EngineNames,
    ) -> None:
        self._habitats = habitats
        self._slices = slices
        self._stamps = stamps
        self._image_index = image_index
        self._names = names
        self._assessed: dict[str, Assessment] = {}

    def assess(self, name: str) -> Assessment:
        """Return which phases of a habitat are up to date, and write its slices."""
        with self._habitats.guard:
            if name in self._assessed:
                self._slices.write(self._habitats.get(name))
            else:
                self._assessed[name] = self._assess(name, write=True)
            return self._assessed[name]

    def look(self, name: str) -> Assessment:
        """Return which phases of a habitat are up to date, and write nothing."""
        with self._habitats.guard:
            if name not in self._assessed:
                self._assessed[name] = self._assess(name, write=False)
            return self._assessed[name]

    def forget(self, name: str) -> None:
        """Assess a habitat anew when it is next needed, because its images or stamps have changed."""
        with self._habitats.guard:
            self._assessed.pop(name, None)

    def refresh(self, name: str) -> None:
        """Do as `forget`, and have the images listed again, because another run may have built."""
        with self._habitats.guard:
            self.forget(name)
            self._image_index().refresh()

    def parent_id(self, name: str, phase: Phase) -> str:
        """Return the id of the snapshot that `phase` starts from, "" for the first. Raises HabitatError."""
        before = last_snapshot(self._habitats.phases(name), phase)
        if before is None:
            return ""
        image = self.assess(name).images.get(before.NAME)
        if image is None:
            raise HabitatError(
                f"image {image_labels.snapshot_tag(self._names.of(name), before)} is gone",
                where=f"{name}: {phase.NAME}",
                remedy="run the same command again",
            )
        return image

    def _assess(self, name: str, *, write: bool) -> Assessment:
        habitat = self._habitats.get(name)
        if not habitat.has_dockerfile:
            habitat = self._habitats.set_base_id(name, self._base_id(habitat))
        if write:
            self._slices.write(habitat)
            habitat.sources.save()
        phases = habitat_phases(habitat)
        hashes = {phase.NAME: self._slices.hash(habitat, phase) for phase in phases}
        self._names.check(name)
        return freshness.assess(name, phases, hashes, self._image_index(), self._stamps, self._names.of(name))

    def _base_id(self, habitat: Habitat) -> str | None:
        """Return the id of the base image. If the image was removed, return the id that the habitat was built on."""
        image_index = self._image_index()
        image_index.all()  # raises the errors of the engine, which say nothing about the name
        try:
            base_id = image_index.id_of(habitat.base_image)
        except EngineUnreachable:
            raise
        except EngineError as error:
            raise ConfigError(
                f"base_image: {error.message}", where=habitat.base_origin, remedy="write it like debian:bookworm-slim"
            ) from error
        built = image_index.tagged(image_labels.snapshot_tag(self._names.of(habitat.name), named("base")))
        return base_id or (built.labels.get(image_labels.LABEL_PARENT) or None if built else None)
