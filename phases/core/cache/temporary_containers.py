"""The names of temporary containers, by which a later run finds and removes those of a killed one."""

from __future__ import annotations

import hashlib
import re
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from phases.core.errors import NotFound
from phases.core.files.processes import Process, current
from phases.registry import PHASES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from phases.core.engine.protocol import Engine
    from phases.core.engine.types import Container
    from phases.protocol import Phase

# The age at which an idle container is removed if its process belongs to another machine.
_FORSAKEN = timedelta(minutes=10)


def is_of_another(container: str, habitat: str) -> bool:
    """Return whether a container has the name of a temporary container of another habitat."""
    return bool(re.match(rf"habitat_(?![a-z]+_{re.escape(habitat)}_[0-9a-f]{{8}}_)", container))


class TemporaryContainers:
    """The temporary containers of the project at `root`.

    Args:
        root: The folder of the project. A clone in another folder has containers of its own on the same engine.
        connect: Returns the engine.
    """

    def __init__(self, root: Path, connect: Callable[[], Engine]) -> None:
        self._clone = hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:8]
        self._connect = connect

    def prefix(self, purpose: str, habitat: str) -> str:
        """Return how the names of a habitat's containers for a purpose begin.

        A label would not do: an image committed from the container inherits it, and so does every container of that
        image.
        """
        return f"habitat_{purpose}_{habitat}_{self._clone}_"

    def passing_name(self, purpose: str, habitat: str) -> str:
        """Return the name of a container that exists only as long as this process."""
        return f"{self.prefix(purpose, habitat)}{current()}"

    def sweep(self, purpose: str, habitat: str) -> None:
        """Remove the containers of killed runs, on this machine or on another one that uses the engine."""
        prefix = self.prefix(purpose, habitat)
        for container in self._connect().containers(name_prefix=prefix):
            process = Process.named(container.name.removeprefix(prefix))
            is_left = not process.runs if process and process.is_near else self._is_forsaken(container.id)
            if is_left:
                self._connect().remove(container.id)

    def _is_forsaken(self, container: str) -> bool:
        with suppress(NotFound):
            found = self._connect().container(container)
            if found and found.since and datetime.now(UTC) - found.since > _FORSAKEN:
                return not found.running or not self._connect().running_execs(container)
        return False

    def build_name(self, habitat: str, phase: Phase) -> str:
        """Return the name of the container in which a phase is built."""
        return self.prefix("build", habitat) + phase.NAME

    def draft_name(self, habitat: str) -> str:
        """Return the name of the container in which a build inspects an image, before it creates that of the phase."""
        return self.prefix("build", habitat) + "draft"

    def builds(self, habitat: str) -> list[Container]:
        """List the build containers of a habitat, of this run or of a killed one."""
        own = {self.draft_name(habitat), *(self.build_name(habitat, phase) for phase in PHASES)}
        containers = self._connect().containers(name_prefix=self.prefix("build", habitat))
        return [container for container in containers if container.name in own]
