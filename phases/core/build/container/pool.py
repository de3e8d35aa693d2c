"""Build containers between two phases: the next phase may continue in the container of the phase before."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from msgspec import Struct

from phases.core.engine.background import BackgroundRemover
from phases.core.errors import EngineUnreachable, HabitatError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from phases.core.build.container.file_cache import FolderCache
    from phases.core.engine.types import Bind, Tmpfs, VolumeMount
    from phases.core.project import Project


class ReusableContainer(Struct, frozen=True):
    """A container between two phases.

    Args:
        id: The id of the container.
        image: The id of the snapshot that was committed from it last. The container is equal to it.
        base_size: The size in bytes of the image that it was made from.
        env: Its environment.
        mounts: Its mounts.
        running: Whether it runs.
        of_editions: What is known of its files (see `file_cache.FileCache`).
        folders: What is known of its folders.
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
    """The build containers of one habitat that no phase works in.

    One waits for the next phase of the run, and one waits to be removed, because a removal slows down everything else
    that the engine does.

    Args:
        remove: Removes a container, given its id.
    """

    def __init__(self, remove: Callable[[str], None] = lambda _: None) -> None:
        self._remove = remove
        self._waiting: ReusableContainer | None = None
        self._spent = ""

    def put(self, container: ReusableContainer) -> None:
        """Keep a container for the next phase."""
        self._waiting = container

    @property
    def is_empty(self) -> bool:
        """Return whether there is no container for the next phase."""
        return self._waiting is None

    def take(self) -> ReusableContainer | None:
        """Return the container for the next phase, if there is one. The caller has to remove it in the end."""
        container, self._waiting = self._waiting, None
        return container

    def spend(self, container: str) -> None:
        """Keep a container to be removed later, and remove the one that was kept before it."""
        before, self._spent = self._spent, container
        if before:
            self._remove(before)

    def clear(self) -> None:
        """Remove all containers. No phase continues in any of them."""
        if container := self.take():
            self._remove(container.id)
        self.spend("")


class ContainerPools:
    """The pools of all habitats that a run builds, and what removes their containers in the background."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self.remover = BackgroundRemover(
            lambda container, on_sent: project.engine.remove(container, on_sent=on_sent), self._warn_of_leftover
        )
        self._pools: defaultdict[str, ContainerPool] = defaultdict(lambda: ContainerPool(self.remover.remove))

    def of(self, habitat: str) -> ContainerPool:
        """Return the pool of a habitat."""
        return self._pools[habitat]

    def clear(self, habitat: str) -> None:
        """Remove all containers of a habitat that no phase works in."""
        self._pools[habitat].clear()

    def _warn_of_leftover(self, error: HabitatError) -> None:
        if not isinstance(error, EngineUnreachable):  # the next request reports that
            self._project.warn(f"{error}: the next run that builds the habitat does that")
