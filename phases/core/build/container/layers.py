"""The layers of images, of which an engine takes only so many.

A commit adds one layer to those of its container's image, if the container has changed a file. So phases that continue
in one container add one layer together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from phases.core import command_form
from phases.core.container.shell_errors import base_image_origin, describe_base_image
from phases.core.engine.docker_api.api import TOO_MANY_LAYERS
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


def check(engine: Engine, habitat: Habitat, image: ImageConfig, first: Phase | None = None) -> None:
    """Check that the engine takes as many layers as a habitat needs.

    Args:
        engine: The engine.
        habitat: The habitat.
        image: The base image, or the snapshot before `first`.
        first: The first phase that will be built, in a new container. Default: the one after base.

    Raises:
        StepError: The habitat needs more. Without this check the last phase would fail.
    """
    if not are_scarce(engine, image):
        return
    needed = needed_by(habitat, first)
    if image.layers + needed > engine.max_layers:
        name = f"the snapshot before {first.NAME}" if first else f"the image {describe_base_image(habitat)}"
        clean = command_form.command("clean", habitat.name)
        anew = f"; or `{clean}`, since a build from base may need fewer" if first else ""
        raise StepError(
            f"{name} has {image.layers} layers, and the habitat adds at least {needed}: the engine takes "
            f"{engine.max_layers}",
            where=base_image_origin(habitat),
            remedy=f"{TOO_MANY_LAYERS}{anew}",
        )


def needed_by(habitat: Habitat, first: Phase | None = None) -> int:
    """Return how many layers the phases from `first` on add at least. Default: the phases after base."""
    phases = habitat_phases(habitat)
    later = phases[phases.index(first) if first else phases.index(named("base")) + 1 :]
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
