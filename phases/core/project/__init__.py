"""A project in one run: its habitats, its engine, and what the run knows of both. Building is `build.builder`."""

from __future__ import annotations

from contextlib import ExitStack
from functools import cached_property
from typing import TYPE_CHECKING

from phases.core import events
from phases.core.cache.engine_names import EngineNames
from phases.core.cache.image_index import ImageIndex
from phases.core.cache.project_identity import ProjectIdentity
from phases.core.cache.slices import SliceStore
from phases.core.cache.stamps import Stamps, state_dir
from phases.core.cache.temporary_containers import TemporaryContainers
from phases.core.engine.background import ContainerCreator
from phases.core.events.bus import Bus
from phases.core.project.assessments import Assessments
from phases.core.project.cleanups import Cleanups
from phases.core.project.connection import EngineConnection
from phases.core.project.habitats import Habitats
from phases.core.secrets.store import SecretStore
from phases.protocol import slug

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from phases.core.cache.freshness import Assessment
    from phases.core.cache.image_store import ImageStore
    from phases.core.engine.locks import EngineLocks
    from phases.core.engine.protocol import Engine
    from phases.core.model import Habitat
    from phases.core.trust import Ask, Trust
    from phases.protocol import Phase


class Project:
    """A project in one run.

    Args:
        root: The folder of the project.
        connect: Returns the engine. It is called when the engine is first needed.
        shares: Whether a build takes over snapshots of other habitats.
        ask: Asks the person a question (see `trust`).
        parent: The connection of the run that this project is a part of; None for a run of its own.

    Attributes:
        maker: Makes containers until the run is told to stop.
        temporary_containers: The temporary containers of this project.
        cleanups: What ends the session or the temporary container that this run has open.
        identity: Tells what this project made on the engine from what others did.
        names: The names of the habitats on the engine.
    """

    def __init__(
        self,
        root: Path,
        connect: Callable[[], Engine],
        *,
        shares: bool = False,
        ask: Ask = lambda *_: None,
        parent: EngineConnection | None = None,
    ) -> None:
        self.root = root
        self.shares = shares
        self._ask = ask
        self._warned: set[str] = set()
        self.bus = Bus()
        self.stamps = Stamps(root, self.warn)
        self.slices = SliceStore(root)
        self.vault = SecretStore(
            root,
            lambda name: self.need_trust(self.habitat(name)),
            lambda name, text: self.bus.emit(events.Notice(name, text, warning=True)),
        )
        self.maker = ContainerCreator()
        self.connection = (
            parent.child(self.maker)
            if parent
            else EngineConnection(
                connect, self.maker, lambda text: self.bus.emit(events.Notice("", text, warning=True))
            )
        )
        self.cleanups = Cleanups(self.bus, self.connection)
        self.temporary_containers = TemporaryContainers(root, lambda: self.engine)
        self.habitats = Habitats(root)
        self.identity = ProjectIdentity(root)
        self.names = EngineNames(root, self.identity, lambda: self.image_index, lambda: self.engine)
        self.assessments = Assessments(self.habitats, self.slices, self.stamps, lambda: self.image_index, self.names)

    def fresh_copy(self) -> Project:
        """Return the project as another run sees it, with nothing read yet.

        Its events go to the bus of this project, and it has to end when this one has to.
        """
        project = Project(self.root, lambda: self.engine, shares=self.shares, ask=self._ask, parent=self.connection)
        project.bus.subscribe(self.bus.emit)
        return project

    def warn(self, text: str) -> None:
        """Show a warning that belongs to no habitat, once in a run."""
        if text not in self._warned:
            self._warned.add(text)
            self.bus.emit(events.Notice("", text, warning=True))

    # The engine

    @property
    def engine(self) -> Engine:
        """The engine. Raises EngineUnreachable."""
        return self.connection.engine

    @property
    def locks(self) -> EngineLocks:
        """The locks of the engine."""
        return self.connection.locks

    @cached_property
    def image_index(self) -> ImageIndex:
        """The images of the engine."""
        return ImageIndex(self.engine.images, self.engine.image_config)

    @cached_property
    def store(self) -> ImageStore:
        """Tags and removes the images of the habitats. Its modules are loaded only if the run does that."""
        from phases.core.cache.image_store import ImageStore
        from phases.core.cache.removals import ImageRemovals

        removals = ImageRemovals(self.engine, self.connection.tasks.add)
        return ImageStore(self.engine, self.image_index, removals, self.names)

    # Habitats

    def habitat(self, name: str) -> Habitat:
        """Return a habitat. Raises HabitatError, the same each time, if its config is broken."""
        return self.habitats.get(name)

    def phases(self, name: str) -> tuple[Phase, ...]:
        """Return the phases of a habitat, also if its config is broken. They stay the same for the whole run."""
        return self.habitats.phases(name)

    def assess(self, name: str) -> Assessment:
        """Return which phases of a habitat are up to date, and write its slices."""
        return self.assessments.assess(name)

    def state_folder(self, name: str) -> Path:
        """Return the folder below .stamps/ that holds what is known of a habitat."""
        return state_dir(self.root, name)

    def log_path(self, name: str, phase: Phase) -> Path:
        """Return the path of a phase's log."""
        return self.state_folder(name) / f"{slug(phase)}.log"

    @cached_property
    def trust(self) -> Trust:
        """The agreements of the person. Their module is loaded only if a config needs one."""
        from phases.core.trust import Trust

        return Trust(self.root, self.bus, self._ask)

    def need_trust(self, habitat: Habitat) -> None:
        """Raise Untrusted if the person has not agreed to what the habitat does on this host."""
        self.trust.require(habitat)

    def close(self) -> list[str]:
        """End a run that built nothing. Returns [], where Builder.close returns the tasks that were running."""
        self.maker.close()
        with ExitStack() as steps:  # the last one first; each is done, also if an earlier one is interrupted
            steps.callback(self.bus.close)
            steps.callback(self.connection.wait_for_tasks)
            steps.callback(self.connection.close_locks)
            steps.callback(self.cleanups.run_all)
        return []
