"""The requests to an engine that give a container other settings without losing its files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from phases.core.engine.confinement.restrictions import ContainerLimits


class Carrying(Protocol):
    """A part of `engine.protocol.Engine`."""

    def set_limits(self, container: str, limits: ContainerLimits) -> bool:
        """Change the limits of a container in place, running or not. Return False, and change nothing, if it can't.

        Raises EngineError if its processes use more than that.
        """

    def changed_bytes(self, container: str) -> int:
        """Return the size of the files that a container has changed or added since its image."""

    def carry(self, container: str, like: str, labels: Mapping[str, str], comment: str) -> str:
        """Make an image with the files of a container that doesn't run.

        Args:
            container: Its name or id.
            like: The image whose config the new one gets. Where an engine can't leave out a variable or a label that
                only the container has, the image has it without its value.
            labels: All labels of the new image.
            comment: The comment of the new image.

        Returns:
            The id of the image, which has no tag.
        """

    def flatten(self, image: str, below: int, folder: Path) -> str:
        """Make an image with the files and the config of another one, and fewer layers.

        Args:
            image: The id of the other image.
            below: How many of its layers the new one keeps as they are, counted from the lowest. The others become one.
            folder: An empty folder of this machine, for the layers.

        Returns:
            The id of the new image, which has no tag.
        """
