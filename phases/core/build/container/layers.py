"""The layers of images, of which an engine takes only so many.

A commit adds one layer to those of its container's image, if the container has changed a file. So phases that continue
in one container add one layer together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from phases.core.container.shell_errors import base_image_origin, describe_base_image
from phases.core.engine.types import TOO_MANY_LAYERS
from phases.core.errors import StepError
from phases.protocol import Copy, Run, SetImageConfig
from phases.registry import habitat_phases, mounts_caches, mounts_volumes, named

if TYPE_CHECKING:
    from phases.core.engine.protocol import Engine
    from phases.core.engine.types import ImageConfig
    from phases.core.model import Habitat
    from phases.protocol import Phase

# If an image may get fewer layers than this, its phases share containers even if that makes their commits slower.
_ENOUGH = 12


def are_scarce(engine: Engine, image: ImageConfig) -> bool:
    """Return whether a new container should be avoided, since its commit may add a layer too many."""
    return image.layers > engine.max_layers - _ENOUGH


def check(engine: Engine, habitat: Habitat, image: ImageConfig) -> None:
    """Raise StepError if a habitat needs more layers than the engine takes. image: the base image."""
    if not are_scarce(engine, image):
        return
    needed = needed_by(habitat)
    if image.layers + needed > engine.max_layers:
        raise StepError(
            f"the image {describe_base_image(habitat)} has {image.layers} layers, and the habitat adds at least"
            f" {needed}: the engine takes {engine.max_layers}",
            where=base_image_origin(habitat),
            remedy=TOO_MANY_LAYERS,
        )


def needed_by(habitat: Habitat) -> int:
    """Return how many layers a habitat adds to its base image at least."""
    phases = habitat_phases(habitat)
    later = phases[phases.index(named("base")) + 1 :]
    containers: list[tuple[object, ...]] = []
    for phase in later:
        container = _container(habitat, phase)
        if phase.SNAPSHOT and _changes_files(habitat, phase) and container not in containers[-1:]:
            containers.append(container)
    return len(containers)


def _container(habitat: Habitat, phase: Phase) -> tuple[object, ...]:
    """Return what is different for two phases that can't share a container."""
    alone = phase.NAME if habitat.secrets_of(phase.NAME) or _uses_agent(habitat, phase) else ""
    after_tests = phase.NAME == "final" and bool(habitat.tests)
    volumes, caches = bool(habitat.volumes), bool(habitat.caches)
    return alone, after_tests, volumes and mounts_volumes(phase), caches and mounts_caches(phase)


def _uses_agent(habitat: Habitat, phase: Phase) -> bool:
    return any(isinstance(step, Run) and step.known_hosts for step in phase.plan(habitat))


def _changes_files(habitat: Habitat, phase: Phase) -> bool:
    return any(
        isinstance(step, Run)
        or (isinstance(step, Copy) and step.entries)
        or (isinstance(step, SetImageConfig) and step.env)
        for step in phase.plan(habitat)
    )
