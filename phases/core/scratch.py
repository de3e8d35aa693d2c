"""The containers of a run that are thrown away: how they are called, where one waits for the next phase of its
habitat, and how they go.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from typing import TYPE_CHECKING

from msgspec import Struct

from phases.core.closing import Remover
from phases.core.errors import EngineUnreachable, HabitatError
from phases.registry import PHASES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from phases.core.engine import Bind, Container, Engine, Tmpfs, VolumeMount
    from phases.protocol import Phase


def is_of_another(container: str, habitat: str) -> bool:
    """Whether a container has the name of one that is thrown away, of another habitat."""
    return bool(re.match(rf"habitat_(?![a-z]+_{re.escape(habitat)}_[0-9a-f]{{8}}_)", container))


class Parked(Struct, frozen=True):
    """A container between two phases. image: the snapshot that it is; base_size: bytes of the image it was made
    from; env, mounts: as it was made; of_editions: what is known of its files (`core.contents`).
    """

    id: str
    image: str
    base_size: int
    env: Mapping[str, str]
    mounts: Sequence[Bind | Tmpfs | VolumeMount]
    running: bool
    of_editions: Mapping[str, tuple[str, bytes]]


class Parking:
    """Where the build container of a habitat waits for the next phase of a run."""

    def __init__(self) -> None:
        self._parked: Parked | None = None

    def put(self, container: Parked) -> None:
        self._parked = container

    def take(self) -> Parked | None:
        """Whoever takes it sees to its end."""
        container, self._parked = self._parked, None
        return container


class Scratch:
    """Those of the project at `root`. connect: returns the engine; warn: is told of what can't be removed."""

    def __init__(self, root: Path, connect: Callable[[], Engine], warn: Callable[[str], None]) -> None:
        # A clone of the project on the same engine has names of its own.
        self._clone = hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:8]
        self._connect = connect
        self._warn = warn
        self._parkings: defaultdict[str, Parking] = defaultdict(Parking)
        #: Takes away what nobody waits for.
        self.remover = Remover(lambda container: connect().remove(container), self._left_behind)

    def prefix(self, purpose: str, habitat: str) -> str:
        """How the names begin of a habitat's containers for a purpose, so that one left by a killed run is found.

        A label would do as well, but labels of a container are baked into what is committed from it.
        """
        return f"habitat_{purpose}_{habitat}_{self._clone}_"

    def build_name(self, habitat: str, phase: Phase) -> str:
        """Of the container that is made for a phase."""
        return self.prefix("build", habitat) + phase.NAME

    def draft_name(self, habitat: str) -> str:
        """Of the one in which a build looks at an image, before it makes that of a phase."""
        return self.prefix("build", habitat) + "draft"

    def builds(self, habitat: str) -> list[Container]:
        """The build containers that there are, of this run or of a killed one."""
        ours = {self.draft_name(habitat), *(self.build_name(habitat, phase) for phase in PHASES)}
        found = self._connect().containers(name_prefix=self.prefix("build", habitat))
        return [container for container in found if container.name in ours]

    def parking(self, habitat: str) -> Parking:
        return self._parkings[habitat]

    def abandon(self, habitat: str) -> None:
        """No phase goes on in the container that waits, if one does."""
        if parked := self._parkings[habitat].take():
            self.remover.remove(parked.id)

    def _left_behind(self, error: HabitatError) -> None:
        """Where no engine answers, whoever asks it next tells."""
        if not isinstance(error, EngineUnreachable):
            self._warn(f"{error}: the next run that builds the habitat does that")
