"""The containers of a run that are thrown away: how they are called, where one waits for the next phase of its
habitat, and how they go.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from msgspec import Struct

from phases.core.engine.background import BackgroundRemover
from phases.core.errors import EngineUnreachable, HabitatError, NotFound
from phases.core.files.processes import Process, current
from phases.registry import PHASES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from phases.core.build.file_cache import FolderCache
    from phases.core.engine.protocol import Bind, Container, Engine, Tmpfs, VolumeMount
    from phases.protocol import Phase


# After how long a container goes that nothing runs in, and of whose process nothing can be told here.
_FORSAKEN = timedelta(minutes=10)


def is_of_another(container: str, habitat: str) -> bool:
    """Whether a container has the name of one that is thrown away, of another habitat."""
    return bool(re.match(rf"habitat_(?![a-z]+_{re.escape(habitat)}_[0-9a-f]{{8}}_)", container))


class ReusableContainer(Struct, frozen=True):
    """A container between two phases. image: the snapshot that it is; base_size: bytes of the image it was made
    from; env, mounts: as it was made; of_editions, folders: what is known of its files (`core.contents`).
    """

    id: str
    image: str
    base_size: int
    env: Mapping[str, str]
    mounts: Sequence[Bind | Tmpfs | VolumeMount]
    running: bool
    of_editions: Mapping[str, tuple[str, bytes]]
    folders: FolderCache


class ContainerPool:
    """Where the build containers of a habitat wait: one for the next phase of a run, and one to be removed, since
    whatever else the engine does takes longer meanwhile. remove: of a container, given its id.
    """

    def __init__(self, remove: Callable[[str], None] = lambda _: None) -> None:
        self._remove = remove
        self._parked: ReusableContainer | None = None
        self._spent = ""

    def put(self, container: ReusableContainer) -> None:
        self._parked = container

    def take(self) -> ReusableContainer | None:
        """Whoever takes it sees to its end."""
        container, self._parked = self._parked, None
        return container

    def spend(self, container: str) -> None:
        """It is to go, and so is the one before."""
        before, self._spent = self._spent, container
        if before:
            self._remove(before)

    def clear(self) -> None:
        """No phase goes on in any of them."""
        if parked := self.take():
            self._remove(parked.id)
        self.spend("")


class TemporaryContainers:
    """Those of the project at `root`. connect: returns the engine; warn: is told of what can't be removed."""

    def __init__(self, root: Path, connect: Callable[[], Engine], warn: Callable[[str], None]) -> None:
        # A clone of the project on the same engine has names of its own.
        self._clone = hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:8]
        self._connect = connect
        self._warn = warn
        #: Takes away what nobody waits for.
        self.remover = BackgroundRemover(
            lambda container, on_sent: connect().remove(container, on_sent=on_sent), self._left_behind
        )
        self._parkings: defaultdict[str, ContainerPool] = defaultdict(lambda: ContainerPool(self.remover.remove))

    def prefix(self, purpose: str, habitat: str) -> str:
        """How the names begin of a habitat's containers for a purpose, so that one left by a killed run is found.

        A label would do as well, but labels of a container are baked into what is committed from it.
        """
        return f"habitat_{purpose}_{habitat}_{self._clone}_"

    def passing_name(self, purpose: str, habitat: str) -> str:
        """Of a container that is to go with this process."""
        return f"{self.prefix(purpose, habitat)}{current()}"

    def sweep(self, purpose: str, habitat: str) -> None:
        """Remove those that killed runs have left, here or on another machine of the engine."""
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

    def parking(self, habitat: str) -> ContainerPool:
        return self._parkings[habitat]

    def abandon(self, habitat: str) -> None:
        """Nothing waits any more."""
        self._parkings[habitat].clear()

    def _left_behind(self, error: HabitatError) -> None:
        """Where no engine answers, whoever asks it next tells."""
        if not isinstance(error, EngineUnreachable):
            self._warn(f"{error}: the next run that builds the habitat does that")
